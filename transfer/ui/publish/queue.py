"""Publishes that go on in threads of their own, one at a time a visitor, whoever looks on."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transfer.errors import JobError, PublishError, TransferError
from transfer.jobs.job import hashed
from transfer.publishing import Checked, Event

AT_ONCE = 1  # each changes for the whole process what huggingface_hub prints
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_KEPT = 3_600
SECONDS_TO_CLEAR_AWAY = 10.0
STOPPED = "stopped; nothing was published"
Steps = Callable[[Callable[[], bool]], Iterator[Event]]


@dataclass
class PublishTask:
    """One publish as it stands: its newest `event`, and what was `checked` before it was sent.

    `error` is why it ended without being published, a sentence. No token is ever in it.
    """

    event: Event | None = None
    checked: Checked | None = None
    error: str = ""
    in_line: bool = True
    live: bool = True
    stopping: bool = False
    version: int = 0
    ended: float = 0.0

    def change(self, **values) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1


class PublishQueue:
    """The newest publish of each visitor, in memory alone: an app that ends forgets them."""

    def __init__(self):
        self._newest: dict[str, PublishTask] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._room = threading.Semaphore(AT_ONCE)
        atexit.register(self.close)

    def start(self, owner: str, steps: Steps) -> PublishTask:
        """`steps` makes the events, and is given what says whether to stop. Raises JobError."""
        parcel, key = PublishTask(), hashed(owner)
        with self._lock:
            self._forget_old()
            if key in self._newest and self._newest[key].live:
                raise JobError("a publish of yours is going on; wait for its end, or cancel it")
            self._newest[key] = parcel
            # a daemon, so that what hangs does not keep the app from ending
            thread = threading.Thread(target=self._send, args=(parcel, steps), daemon=True)
            self._threads[key] = thread
        thread.start()
        return parcel

    def newest_of(self, owner: str) -> PublishTask | None:
        return self._newest.get(hashed(owner))

    def cancel(self, owner: str) -> PublishTask | None:
        """Asks it to end before its next step; once the Hub has the commit there is none."""
        parcel = self.newest_of(owner)
        if parcel is not None and parcel.live:
            parcel.change(stopping=True)
        return parcel

    def close(self) -> None:
        """Cancel all, and wait a moment for what they take back."""
        for parcel in list(self._newest.values()):
            parcel.stopping = True
        end = time.monotonic() + SECONDS_TO_CLEAR_AWAY
        for thread in list(self._threads.values()):
            thread.join(max(0.0, end - time.monotonic()))

    def _send(self, parcel: PublishTask, steps: Steps) -> None:
        try:
            self._wait_for_room(parcel)
            try:
                parcel.change(in_line=False)
                for event in steps(lambda: parcel.stopping):
                    checked = event if isinstance(event, Checked) else parcel.checked
                    parcel.change(event=event, checked=checked)
            finally:
                self._room.release()
        except TransferError as error:
            parcel.error = str(error)
        except Exception as error:
            parcel.error = f"publishing failed ({type(error).__name__}); press Publish again"
        parcel.change(live=False, ended=time.time())

    def _wait_for_room(self, parcel: PublishTask) -> None:
        while not self._room.acquire(timeout=SECONDS_BETWEEN_LOOKS):
            if parcel.stopping:
                raise PublishError(STOPPED)

    def _forget_old(self) -> None:
        """How a publish ended is told for a while only."""
        oldest = time.time() - SECONDS_KEPT
        old = [key for key, one in self._newest.items() if not one.live and one.ended < oldest]
        for key in old:
            del self._newest[key], self._threads[key]
