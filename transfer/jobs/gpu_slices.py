"""Spaces on ZeroGPU: a training in slices, each in a process that has a GPU for some seconds.

An ordinary worker opens the images and the body first, which needs no GPU. Then slice follows
slice, and each one resumes from the checkpoint of the one before.
"""

import contextvars
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from transfer import events
from transfer.jobs.process import STOP, WORKER, Worker, redacted
from transfer.jobs.worker import PAUSED, carry_out, import_needed
from transfer.runs.checkpoint import has_checkpoint
from transfer.runs.run import CHECKPOINT

SECONDS_PER_SLICE = 60  # ZeroGPU makes longer requests wait longer, and refuses them sooner
# shares of a slice after which a training pauses, between two epochs and within one
SHARE_BETWEEN_EPOCHS, SHARE_WITHIN_EPOCH = 0.7, 0.9
GONE = "gone"  # in the flag file: nobody waits for this training any more
PROGRESS = ("CacheProgress", "EpochDone")  # what a slice that ends early has not done in vain
TOO_SLOW = (
    f"no epoch fits into the {SECONDS_PER_SLICE} seconds of a GPU slice; choose fewer images, a "
    "smaller image size or a higher block to unfreeze"
)


def zero_gpu_worker() -> Callable[[tuple[str, ...]], "SlicedWorker"]:
    """Makes workers that train on ZeroGPU, in forks that inherit the modules imported here.

    Must be called before torch is imported: `spaces` patches it to show a GPU that is not there.
    """
    import spaces

    import_needed()

    @spaces.GPU(duration=SECONDS_PER_SLICE)
    def run_slice(task: dict, flag: str) -> Iterator[dict]:
        yield from one_slice(task, flag, SECONDS_PER_SLICE)

    return partial(SlicedWorker, run_slice=run_slice)


def one_slice(task: dict, flag: str, seconds: float) -> Iterator[dict]:
    """What `carry_out` yields of a task within `seconds`, in the process that has the GPU.

    It pauses between two epochs or batches of images, and within an epoch only when the time is
    almost up. `flag` is a file that may say STOP or GONE: an event does not cross processes.
    """
    from transfer.training.benchmark import measure_again
    from transfer.training.forecast import known_speed

    if known_speed() is None:
        measure_again()
    began = time.monotonic()

    def pauses_after(event: events.Event) -> bool:
        within_epoch = isinstance(event, events.BatchDone | events.HeadTried)
        share = SHARE_WITHIN_EPOCH if within_epoch else SHARE_BETWEEN_EPOCHS
        return time.monotonic() - began > share * seconds or _read(flag) == GONE

    yield from carry_out(task, lambda: _read(flag) == STOP, pauses_after)


class SlicedWorker:
    """Has the methods of `Worker`. GPUs are requested in the context of `send`: the visitor's."""

    def __init__(
        self, command: tuple[str, ...] = WORKER, *, run_slice: Callable
    ):  # like `one_slice`
        self._opener = Worker(command)
        self._run_slice = run_slice
        self._flag: Path | None = None
        self._messages: SimpleQueue[dict | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._progress = False  # of the current slice

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() if self._thread else self._opener.alive

    def send(self, line: str) -> None:
        """A task, or STOP."""
        if line == STOP:
            self._ask(STOP)
            self._opener.send(STOP)
            return
        self._flag = Path(tempfile.mkdtemp(prefix="transfer-")) / "flag"
        run = partial(contextvars.copy_context().run, self._carry_out, json.loads(line))
        self._thread = threading.Thread(target=run, daemon=True, name="gpu-slices")
        self._thread.start()

    def messages(self) -> Iterator[dict]:
        return iter(self._messages.get, None)

    def wait(self) -> int:
        return self._opener.wait()

    def kill(self) -> None:
        """A running slice ends within a batch, for which nobody waits."""
        self._ask(GONE)
        self._opener.kill()
        self._messages.put(None)

    def _ask(self, request: str) -> None:
        if self._flag:
            with suppress(OSError):  # the training has ended
                self._flag.write_text(request)

    def _carry_out(self, task: dict) -> None:
        try:
            self._opener.send(json.dumps(task | {"until": "DatasetReady"}))
            more = self._pass_on(self._opener.messages())
            while more and _read(self._flag) != GONE:
                more = self._train_slice(task)
        finally:
            self._messages.put(None)
            self._opener.kill()
            shutil.rmtree(self._flag.parent, ignore_errors=True)

    def _train_slice(self, task: dict) -> bool:
        """Train for one slice; whether there is more to do."""
        if not has_checkpoint(Path(task["out"]) / CHECKPOINT):
            self._messages.put(events.to_json(events.Resumed()))
        self._progress, error = False, TOO_SLOW
        try:
            more = self._pass_on(self._run_slice(task, str(self._flag)))
        except Exception as refused:  # whatever `spaces` raises has a message for the visitor
            why = getattr(refused, "message", "") or type(refused).__name__
            more, error = True, f"no GPU is available now: {redacted(str(why)).rstrip('.')}"
        if more and not self._progress:
            self._messages.put({"error": error})
        return more and self._progress

    def _pass_on(self, messages: Iterator[dict]) -> bool:
        """Whether the training was paused."""
        for message in messages:
            if message == PAUSED:
                return True
            self._progress |= message.get("event") in PROGRESS
            self._messages.put(message)
        return False


def _read(flag: Path | str) -> str:
    """What the flag file says: STOP, GONE or nothing."""
    try:
        return Path(flag).read_text()
    except OSError:
        return ""
