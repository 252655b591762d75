"""Uploads in threads, one at a time; they continue when the page is closed."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from transfer.errors import PublishError
from transfer.formatting import error_line
from transfer.publishing.events import Checked, Event
from transfer.publishing.publisher import PublishRequest, publish_events

SECONDS_BETWEEN_CHECKS = 0.2
SECONDS_SHOWN = 3_600  # how long the outcome of an upload can be seen
SECONDS_TO_CLEAN_UP = 10.0
STOPPED = "stopped; nothing was published"


@dataclass
class PublishTask:
    """The newest event of an upload. `error` is why it failed, one sentence without any token."""

    event: Event | None = None
    checked: Checked | None = None
    error: str = ""
    waiting: bool = True  # for other owners' uploads
    live: bool = True
    stopping: bool = False
    ended: float = 0.0  # seconds since 1970
    thread: threading.Thread | None = None


class PublishQueue:
    """The newest upload of each owner, whatever they are called; in memory only."""

    def __init__(self):
        self._newest: dict[str, PublishTask] = {}  # owner → task
        self._lock = threading.Lock()
        self._slot = threading.Lock()  # huggingface_hub's verbosity is set for the whole process
        atexit.register(self.close)

    def start(self, owner: str, request: PublishRequest) -> PublishTask:
        """Raises PublishError if this owner's last upload is not finished."""
        task = PublishTask()
        with self._lock:
            oldest = time.time() - SECONDS_SHOWN
            recent = self._newest.items()
            self._newest = {k: old for k, old in recent if old.live or old.ended > oldest}
            if owner in self._newest and self._newest[owner].live:
                raise PublishError("you are already publishing; wait until it ends, or cancel it")
            self._newest[owner] = task
            # a daemon: an upload that hangs must not keep the app from ending
            task.thread = threading.Thread(target=self._run, args=(task, request), daemon=True)
        task.thread.start()
        return task

    def newest_of(self, owner: str) -> PublishTask | None:
        return self._newest.get(owner)

    def cancel(self, owner: str) -> PublishTask | None:
        """It ends before its next step, unless the Hub has the commit already."""
        task = self.newest_of(owner)
        if task is not None and task.live:
            task.stopping = True
        return task

    def close(self) -> None:
        """Cancel all uploads, and give them a moment to remove what they created."""
        tasks = list(self._newest.values())
        for task in tasks:
            task.stopping = True
        end = time.monotonic() + SECONDS_TO_CLEAN_UP
        for task in tasks:
            task.thread.join(max(0.0, end - time.monotonic()))

    def _run(self, task: PublishTask, request: PublishRequest) -> None:
        try:
            while not self._slot.acquire(timeout=SECONDS_BETWEEN_CHECKS):
                if task.stopping:
                    raise PublishError(STOPPED)
            try:
                task.waiting = False
                for event in _events(request, lambda: task.stopping):
                    task.checked = event if isinstance(event, Checked) else task.checked
                    task.event = event
            finally:
                self._slot.release()
        except Exception as error:
            name = type(error).__name__
            task.error = error_line(error) or f"publishing failed ({name}); press Publish again"
        task.ended, task.live = time.time(), False


def _events(request: PublishRequest, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Of a publish that sends nothing that is meant to be private into a public repository."""
    with closing(publish_events(request, should_stop)) as events:
        for event in events:
            if isinstance(event, Checked) and request.private and not event.private:
                raise PublishError(
                    f"expected a private repository, found that {event.repository} is public; "
                    "choose another name, or turn Private off"
                )
            yield event
