"""One training in a process of its own, spoken to in JSON lines.

stdin: one line with `source`, `out` and `options`, later perhaps `stop`; its end means that whoever
asked is gone. stdout: `{"ready": true}` once everything is imported, the training's events, and at
the end one of `{"error": sentence}` or `{"stopped": true}` unless a RunSaved has come.
"""

import _thread
import json
import os
import sys
import threading
import time
import traceback
from contextlib import closing
from importlib import import_module
from typing import TextIO

SECONDS_BETWEEN_PASSING_EVENTS = 0.25
# imported before there is a job: they take longer than a training on cached features
NEEDED = (
    "transfer.recipe",
    "huggingface_hub",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.linear_model",
    "timm.optim",
    "timm.scheduler",
)


def main() -> None:
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    sys.stdout = sys.stderr  # a library that prints must not break the lines
    for name in NEEDED:
        import_module(name)
    _say(lines, {"ready": True})
    order = sys.stdin.readline()
    if not order.strip():
        return
    stop, gone = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(stop, gone), daemon=True).start()
    try:
        _train(json.loads(order), lines, stop, gone)
    except KeyboardInterrupt:
        _say(lines, {"stopped": True})


def _listen(stop: threading.Event, gone: threading.Event) -> None:
    """`stop` on stdin ends the training and keeps what was learned; the end of stdin cancels it."""
    for line in sys.stdin:
        if line.strip() == "stop":
            stop.set()
    gone.set()
    _thread.interrupt_main()


def _train(order: dict, lines: TextIO, stop: threading.Event, gone: threading.Event) -> None:
    from transfer import events
    from transfer.errors import TransferError
    from transfer.recipe import training_events

    def should_stop() -> bool:
        # an interrupt is lost where the signal is ignored, as in a script's background job
        if gone.is_set():
            raise KeyboardInterrupt
        return stop.is_set()

    before_learning, told = True, 0.0
    try:
        with closing(
            training_events(
                order["source"], out=order["out"], should_stop=should_stop, **order["options"]
            )
        ) as training:
            for event in training:
                before_learning &= not isinstance(event, events.PhaseStarted)
                if should_stop() and before_learning:
                    _say(lines, {"stopped": True})
                    return
                passing = isinstance(event, events.PASSING)
                if not passing or time.monotonic() - told > SECONDS_BETWEEN_PASSING_EVENTS:
                    told = time.monotonic()
                    _say(lines, events.to_json(event))
    except TransferError as error:
        _say(lines, {"error": str(error)})
    except MemoryError:
        _say(lines, {"error": "there was not enough memory; choose a smaller image size"})
    except Exception as error:
        traceback.print_exc()
        name = type(error).__name__
        _say(lines, {"error": f"the training broke off ({name}); its log says where"})


def _say(lines: TextIO, message: dict) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()


if __name__ == "__main__":
    main()
