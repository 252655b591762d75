"""One job in one worker: from the task that the worker is sent to the end of both."""

import json
import threading
import time
from collections.abc import Callable

from transfer import events
from transfer.jobs.job import Job
from transfer.jobs.limits import in_words
from transfer.jobs.process import STOP, Worker, redacted
from transfer.jobs.store import JobStore
from transfer.machine.signals import ended_by

SECONDS_TO_FINISH = 300  # after the time limit, for evaluating and saving
TOO_SLOW = (
    f"the training did not end within {in_words(SECONDS_TO_FINISH)} of being stopped; choose a "
    "quicker effort or fewer images"
)


class JobExecution:
    """Starts the job in the worker."""

    def __init__(self, job: Job, worker: Worker, store: JobStore):
        self.job, self.worker, self.store = job, worker, store
        self._status = 0
        self._outcome: tuple[str, str] | None = None  # state and error of a job without a run
        task = {"source": job.source, "out": str(job.out.absolute())}
        task["settings"] = job.settings.to_json()
        store.change(job, state="loading", started=time.time())
        job.context.run(worker.send, json.dumps(task))

    def follow(self, seconds: float | None) -> None:
        """Apply what the worker says until it ends; stop it after `seconds`, the time limit."""
        timers = []
        if seconds is not None:
            note = f"stopped after {in_words(seconds)}, the time limit for a training here"
            timers.append(_later(seconds, self.stop, note))
            timers.append(_later(seconds + SECONDS_TO_FINISH, self.kill, "failed", TOO_SLOW))
        for message in self.worker.messages():
            if "error" in message:
                self._outcome = "failed", redacted(str(message["error"]))
            else:
                self.store.record(self.job, events.from_json(message))
        self._status = self.worker.wait()
        for timer in timers:
            timer.cancel()

    def finish(self) -> None:
        """Settle the job once its worker has ended, and remove what cannot be resumed."""
        with self.store.changed:
            self.store.remove_unfinished(self.job)
            if self.job.live:
                stopped = self.job.stopping and self._status == 0  # with nothing to save
                ended = ("stopped", "") if stopped else _ended(self._status)
                state, error = self._outcome or ended
                self.store.change(self.job, state=state, error=error, progress=None)

    def stop(self, note: str = "") -> None:
        """End within one batch and save what was learned, or at once if there is nothing yet."""
        with self.store.changed:
            if self.job.live and not self.job.stopping:
                self.store.change(self.job, stopping=True, note=note)
                if self.job.learning:
                    self.worker.send(STOP)
                else:
                    self.kill("stopped", "")

    def kill(self, state: str, error: str) -> None:
        """End at once; the job gets this state, unless it has failed or saved its run."""
        with self.store.changed:
            self._outcome = self._outcome or (state, error)
            self.worker.kill()


def _ended(status: int) -> tuple[str, str]:
    """State and error of a job whose process has ended with this status and without a word."""
    if status == -9:  # SIGKILL, which the kernel sends when memory runs out
        why = "the training was killed, most likely for lack of memory; choose a smaller image size"
    elif name := ended_by(status):
        return "interrupted", f"the training was ended by {name}; start it again"
    else:
        why = f"the training's process ended unexpectedly (status {status}); start it again"
    return "failed", why


def _later(seconds: float, call: Callable, *args) -> threading.Timer:
    """`call` after so many seconds, in a thread that does not keep the app alive."""
    timer = threading.Timer(seconds, call, args)
    timer.daemon = True
    timer.start()
    return timer
