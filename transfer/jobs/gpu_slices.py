"""Trainings in slices, for a GPU that is lent to this process for some seconds at a time.

Opening the images and the body takes no GPU and is done by an ordinary worker process. Then slice
follows slice, each going on from where the one before laid the training down.
"""

import contextvars
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from transfer import events
from transfer.jobs.process import SECONDS_TO_END, WORKER, Worker, redacted
from transfer.jobs.protocol import LAID_DOWN, carry_out
from transfer.runs.checkpoint import has_checkpoint
from transfer.runs.run import CHECKPOINT

OPENED = "DatasetReady"
SHARE_TO_LAY_DOWN, SHARE_TO_BREAK_OFF = 0.7, 0.9
# what a slice that ended early has done for good
LASTING = ("CacheProgress", "EpochDone")
TOO_LONG = (
    "expected an epoch to fit into the time for which the GPU is lent, found that none does; "
    "choose fewer images, a smaller image size or a higher block to unfreeze"
)
STOP, GONE = "stop", "gone"

Slot = Callable[[dict, str], Iterator[dict]]


def one_slice(order: dict, flag: str, seconds: float) -> Iterator[dict]:
    """Carry out as much of an order as fits into a slot, in the process that has the GPU.

    It is laid down between two epochs or batches of images, in the midst of an epoch only where
    the slot ends. `flag` is a file that says `stop` or `gone`. Yields what `carry_out` does, or
    `{"stopped": True}`.
    """
    from transfer.training.benchmark import measure_again
    from transfer.training.forecast import known_speed

    if known_speed() is None:
        measure_again()
    began = time.monotonic()

    def enough(event: events.Event) -> bool:
        passed = (time.monotonic() - began) / seconds
        within = isinstance(event, events.BatchDone | events.HeadTried)
        return passed > (SHARE_TO_BREAK_OFF if within else SHARE_TO_LAY_DOWN)

    try:
        yield from carry_out(order, FlagFile(Path(flag)), enough)
    except KeyboardInterrupt:
        yield {"stopped": True}


class FlagFile:
    """The wishes of whoever ordered the training, as a file tells them to another process."""

    def __init__(self, path: Path):
        self.path = path
        self.learning = False

    def begin_to_learn(self) -> None:
        self.learning = self.learning or not self._wish()

    def should_stop(self) -> bool:
        wish = self._wish()
        if wish == GONE or (wish and not self.learning):
            raise KeyboardInterrupt
        return bool(wish)

    def _wish(self) -> str:
        try:
            return self.path.read_text()
        except OSError:
            return ""


class SlicedWorker:
    """Does what `Worker` does, in slices: `slot(order, flag)` runs `one_slice` where the GPU is.

    The slots are asked for in the context of `tell`, for they are lent to a visitor.
    """

    def __init__(self, command: tuple[str, ...] = WORKER, *, slot: Slot):
        self._opener = Worker(command)
        self._slot = slot
        self._folder = Path(tempfile.mkdtemp(prefix="transfer-"))
        self._flag = self._folder / "flag"
        self._said: SimpleQueue[dict | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._status = 0
        self._gone = False

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() if self._thread else self._opener.alive

    @property
    def mark(self) -> tuple[int, float]:
        """The opener's: what runs in a slot ends with the app."""
        return self._opener.mark

    def tell(self, line: str) -> None:
        if line == STOP:
            self._wish(STOP)
            self._opener.tell(STOP)
            return
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._carry_out, json.loads(line)), daemon=True
        )
        self._thread.start()

    def messages(self) -> Iterator[dict]:
        while (message := self._said.get()) is not None:
            yield message

    def wait(self) -> int:
        """Its status, once it has said everything: the opener's where that died."""
        return self._status if self._thread else self._opener.wait()

    def leave(self) -> None:
        """Nobody asks it for anything any more."""
        self._gone = True
        self._wish(GONE)
        self._opener.leave()

    def end(self) -> None:
        """Give it some time after `leave`, then end it."""
        if self._thread:
            self._thread.join(SECONDS_TO_END)
        self._opener.end()
        self.kill()

    def kill(self) -> None:
        """Nobody waits for it any more; a slice under way ends within a batch."""
        self._gone = True
        self._wish(GONE)
        self._opener.kill()
        self._said.put(None)

    def _wish(self, wish: str) -> None:
        if self._folder.exists():
            self._flag.write_text(wish)

    def _carry_out(self, order: dict) -> None:
        try:
            more = self._open(order)
            while more and not self._gone:
                more = self._one_more(order)
        finally:
            self._said.put(None)
            self._opener.leave()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, order: dict) -> bool:
        self._opener.tell(json.dumps(order | {"until": OPENED}))
        if more := self._pass_on(self._opener.messages()):
            return more
        self._status = self._opener.wait()
        return False

    def _one_more(self, order: dict) -> bool:
        """One slice; whether there is more to do."""
        if not has_checkpoint(Path(order["out"]) / CHECKPOINT):
            self._said.put(events.to_json(events.Resumed()))
        lasting, error = [], TOO_LONG
        try:
            more = self._pass_on(self._slot(order, str(self._flag)), lasting)
        except Exception as broken:  # whatever those who lend the GPU have to say
            more, error = True, f"the GPU is not lent any longer: {_sentence(broken)}"
        if more and not lasting:
            self._said.put({"error": error})
        return more and bool(lasting)

    def _pass_on(self, messages: Iterator[dict], lasting: list | None = None) -> bool:
        """Whether it was laid down; what it has done for good is added to `lasting`."""
        for message in messages:
            if message == LAID_DOWN:
                return True
            self._said.put(message)
            if lasting is not None and message.get("event") in LASTING:
                lasting.append(message)
        return False


def _sentence(error: Exception) -> str:
    return redacted(str(getattr(error, "message", "") or type(error).__name__)).rstrip(".")
