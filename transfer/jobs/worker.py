"""One training in a process of its own, spoken to in JSON lines.

stdin: one line with an order (see `orders`), later perhaps `stop`; its end means that whoever
asked is gone. stdout: `{"ready": true}` once everything is imported, what carrying out the order
says, and `{"stopped": true}` where it was ended with nothing to keep.
"""

import _thread
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import TextIO

from transfer.hub import on_zero_gpu
from transfer.jobs.protocol import carry_out

SECONDS_TO_CLEAR_UP = 4
NICENESS = 5  # whoever looks at the page comes first
SECONDS_IDLE = 2.0
# imported before there is a job: they take longer than a training on cached features
NEEDED = (
    "transfer.training.recipe",
    "huggingface_hub",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.linear_model",
    "timm.optim",
    "timm.scheduler",
)


class StdinStopSignal:
    """What whoever asked for the training wants by now, as lines say it.

    A stop is an interrupt until there is something to keep: nobody waits for a download then.
    """

    def __init__(self) -> None:
        self.stop, self.gone = threading.Event(), threading.Event()
        self.learning = False
        self._lock = threading.Lock()

    def listen(self, lines: Iterable[str]) -> None:
        """Take in `stop` until the lines end, which means that whoever asked is gone."""
        for line in lines:
            if line.strip() == "stop":
                with self._lock:
                    self.stop.set()
                    if not self.learning:
                        _interrupt()
        self.gone.set()
        _interrupt()
        time.sleep(SECONDS_TO_CLEAR_UP)
        os._exit(1)

    def begin_to_learn(self) -> None:
        """From now on a stop keeps what was learned, unless it has come already."""
        with self._lock:
            self.learning = not self.stop.is_set()

    def should_stop(self) -> bool:
        """Whether to end the phase; raises KeyboardInterrupt when nothing is to be kept.

        For an interrupt may be lost, in a destructor or in a library that goes on after it.
        """
        if self.gone.is_set() or (self.stop.is_set() and not self.learning):
            raise KeyboardInterrupt
        return self.stop.is_set()


def main() -> None:
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    # what a library, or a process that it starts, prints must not break the lines
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    for name in NEEDED:
        import_module(name)
    _say(lines, {"ready": True})
    if _idle(SECONDS_IDLE) and not on_zero_gpu():
        from transfer.training.benchmark import measure_again

        measure_again()
    order = sys.stdin.readline()
    if not order.strip():
        return
    wishes = StdinStopSignal()
    threading.Thread(target=wishes.listen, args=(sys.stdin,), daemon=True).start()
    try:
        for message in carry_out(json.loads(order), wishes):
            _say(lines, message)
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt):
            _say(lines, {"stopped": True})
    os._exit(0)  # without waiting for threads that download what nobody wants any more


def _idle(seconds: float) -> bool:
    """Whether nothing is asked of the worker for so long; False where the system cannot tell."""
    try:
        return not select.select([sys.stdin], [], [], seconds)[0]
    except (OSError, ValueError):
        return False


def _interrupt() -> None:
    """KeyboardInterrupt in the main thread, even while it waits for a lock or the network."""
    try:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    except (AttributeError, OSError):
        _thread.interrupt_main()


def _say(lines: TextIO, message: dict) -> None:
    """Raises KeyboardInterrupt when nobody is there to hear it."""
    try:
        lines.write(json.dumps(message) + "\n")
        lines.flush()
    except OSError:
        raise KeyboardInterrupt from None


if __name__ == "__main__":
    main()
