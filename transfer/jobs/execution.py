"""One job in one worker: from the task that the worker is sent to the end of both."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from transfer import events
from transfer.errors import TransferError
from transfer.jobs.job import Job
from transfer.jobs.limits import in_words
from transfer.jobs.process import STOP, Worker, redacted
from transfer.jobs.store import INTERRUPTED, JobStore

SECONDS_TO_FINISH = 300  # after the time limit, for evaluating and saving
TOO_SLOW = (
    f"the training did not end within {in_words(SECONDS_TO_FINISH)} of being stopped; choose a "
    "quicker effort or fewer images"
)


class JobExecution:
    """Starts the job in the worker; `seconds` is the time limit."""

    def __init__(self, job: Job, worker: Worker, store: JobStore, seconds: float | None = None):
        self.job, self.worker, self.store = job, worker, store
        self._seconds = seconds
        self._status = 0
        self._killed: tuple[str, str] | None = None  # the job's state and error after that
        task = {"source": job.source, "out": str(job.out.absolute())}
        task["settings"] = job.settings.to_json()
        store.change(job, state="loading", started=time.time())
        job.context.run(worker.send, json.dumps(task))

    def follow(self) -> None:
        """Apply what the worker says until it ends; stop it at the time limit."""
        timers = []
        if (most := self._seconds) is not None:
            note = f"stopped after {in_words(most)}, the time limit for a training here"
            timers.append(_later(most, self.stop, note))
            timers.append(_later(most + SECONDS_TO_FINISH, self._kill, "failed", TOO_SLOW))
        for message in self.worker.messages():
            if "error" in message:
                self._end_without_run("failed", redacted(str(message["error"])))
            else:
                with suppress(TransferError):  # not an event
                    self.store.record(self.job, events.from_json(message))
        self._status = self.worker.wait()
        for timer in timers:
            timer.cancel()

    def finish(self) -> None:
        """Settle the job once its worker has ended, and remove what cannot be resumed."""
        with self.store.changed:
            self.store.remove_unfinished(self.job)
            stopped = self.job.stopping and self._status == 0  # with nothing to save
            why = ("stopped", "") if stopped else ("failed", _why(self._status))
            self._end_without_run(*(self._killed or why))

    def stop(self, note: str = "") -> None:
        """End within one batch and save what was learned, or at once if there is nothing yet."""
        with self.store.changed:
            if self.job.live and not self.job.stopping:
                self.store.change(self.job, stopping=True, note=note)
                if self.job.learning:
                    self.worker.send(STOP)
                else:
                    self._kill("stopped", "")

    def interrupt(self) -> None:
        """The app ends."""
        self._kill("interrupted", INTERRUPTED)

    def _kill(self, state: str, error: str) -> None:
        with self.store.changed:
            self._killed = state, error
            self.worker.kill()

    def _end_without_run(self, state: str, error: str) -> None:
        if self.job.live:
            self.store.change(self.job, state=state, error=error, progress=None)


def _why(status: int) -> str:
    if status == -9:  # SIGKILL, which the kernel sends when memory runs out
        return (
            "the training was killed, most likely because memory ran out; choose a smaller image "
            "size"
        )
    return f"the training's process ended unexpectedly (status {status}); start it again"


def _later(seconds: float, call: Callable, *args) -> threading.Timer:
    """`call` after so many seconds, in a thread that does not keep the app alive."""
    timer = threading.Timer(seconds, call, args)
    timer.daemon = True
    timer.start()
    return timer
