"""The worker process: reads one task from stdin, trains, and prints events as JSON lines.

A task is a JSON object: `source`, `out`, `settings` and optionally `until`, the name of the event
after which to pause. An unfinished training in `out` is resumed. The last line is the RunSaved
event, `{"error": sentence}` or PAUSED. The line `stop` on stdin ends the training early and saves
what it learned; the end of stdin means that the app is gone. A signal leaves at most a checkpoint.
"""

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib import import_module

from transfer.events import TRANSIENT, Event, RunSaved, to_json
from transfer.formatting import error_line
from transfer.jobs.process import STOP
from transfer.machine.environment import on_zero_gpu
from transfer.machine.signals import handle_ending
from transfer.settings import TrainingSettings

SECONDS_BETWEEN_TRANSIENT_EVENTS = 0.25
PAUSED = {"paused": True}
# imported before there is a task, because it takes longer than a training on cached features
NEEDED = (
    "transfer.training.recipe",
    "huggingface_hub",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.linear_model",
    "timm.optim",
    "timm.scheduler",
)


def main() -> None:
    # whatever a library or its child processes print goes to stderr: stdout is for messages
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    handle_ending(_leave)
    os.nice(5)  # the page answers first
    import_needed()
    idle = not select.select([sys.stdin], [], [], 2.0)[0]  # no task within two seconds
    if idle and not on_zero_gpu():
        from transfer.training.benchmark import measure_again

        measure_again()
    line = sys.stdin.readline()
    if line.strip():
        stop = threading.Event()
        threading.Thread(target=_listen, args=(stop,), daemon=True).start()
        for message in carry_out(json.loads(line), stop.is_set):
            messages.write(json.dumps(message) + "\n")
        messages.close()
        os._exit(0)  # without waiting for threads of libraries


def import_needed() -> None:
    for name in NEEDED:
        import_module(name)


def carry_out(
    task: dict,
    should_stop: Callable[[], bool],
    pauses_after: Callable[[Event], bool] = lambda event: False,
) -> Iterator[dict]:
    """Train; yields messages, of transient events at most four a second."""
    try:
        yield from _train(task, should_stop, pauses_after)
    except Exception as error:
        line = error_line(error)
        if not line:
            with suppress(OSError):
                traceback.print_exc()
            name = type(error).__name__
            line = f"the training failed unexpectedly ({name}); see the log for the reason"
        yield {"error": line}


def _train(
    task: dict, should_stop: Callable[[], bool], pauses_after: Callable[[Event], bool]
) -> Iterator[dict]:
    from transfer.training.recipe import training_events

    training = training_events(
        task["source"],
        out=task["out"],
        should_stop=should_stop,
        resume=True,
        settings=TrainingSettings.from_json(task["settings"]),
    )
    sent = 0.0
    with closing(training):
        for event in training:
            now = time.monotonic()
            if not isinstance(event, TRANSIENT) or now > sent + SECONDS_BETWEEN_TRANSIENT_EVENTS:
                sent = now
                yield to_json(event)
            due = type(event).__name__ == task.get("until") or pauses_after(event)
            if due and not isinstance(event, RunSaved):  # after which there is nothing to resume
                yield PAUSED
                return


def _leave(number: int, _) -> None:
    handle_ending(signal.SIG_IGN)  # a system that shuts down sends several
    sys.exit(128 + number)  # closes the training


def _listen(stop: threading.Event) -> None:
    """Ends the process when the app is gone: all that it leaves is a checkpoint to resume from."""
    for line in sys.stdin:
        if line.strip() == STOP:
            stop.set()
    os._exit(1)


if __name__ == "__main__":
    main()
