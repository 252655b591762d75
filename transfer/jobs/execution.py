"""A worker at a job, from its order to its end."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from transfer import events
from transfer.errors import TransferError
from transfer.jobs.job import Job
from transfer.jobs.limits import spoken
from transfer.jobs.process import Worker, redacted, why_it_died
from transfer.jobs.store import INTERRUPTED, JobStore
from transfer.runs.run import RECORD

SECONDS_TO_STOP = 2
SECONDS_TO_FINISH = 300
TOO_LATE = (
    f"this training did not end within {spoken(SECONDS_TO_FINISH)} of being stopped; choose a "
    "quicker effort, or fewer images"
)


class JobExecution:
    """What the worker says goes into the book; it ends by itself, is stopped, cut off or
    interrupted."""

    def __init__(self, job: Job, worker: Worker, book: JobStore):
        self.job, self.worker = job, worker
        self._store = book
        self._interrupted = self._cut_off = False

    def begin(self) -> None:
        job = self.job
        order = {"source": job.source, "out": str(job.out.absolute()), "options": job.options}
        self._store.change(job, state="loading", started=time.time(), worker=self.worker.mark)
        job.context.run(self.worker.tell, json.dumps(order))

    def follow(self) -> None:
        """Take in what the worker says until it ends."""
        for message in self.worker.messages():
            with suppress(TransferError):
                self._hear(message)
        self.worker.wait()

    def stop(self, note: str = "") -> None:
        """Ask the worker to end within one batch; one that has not begun to learn must."""
        with self._store.changed:
            if self.job.live and not self.job.stopping:
                self._store.change(self.job, stopping=True, note=note)
                self.worker.tell("stop")
                later(SECONDS_TO_STOP, self._insist)

    def cut_off(self) -> None:
        """End what does not come to an end after it was asked to."""
        with self._store.changed:
            if self.job.live:
                self._cut_off = True
                self.worker.kill()

    def interrupt(self) -> None:
        """The app ends, which is no fault of the job's."""
        self._interrupted = True
        self.worker.leave()

    def end(self) -> None:
        """Clear away what a worker that has ended left unfinished; the job is not live then."""
        job, book = self.job, self._store
        with book.changed:
            if not (job.out / RECORD).exists() and not job.can_resume:
                with suppress(OSError):
                    book.records.remove_folder(job.out)
            if job.live and job.stopping and not job.learning:
                self._without_run("stopped")
            elif job.live:
                self._without_run(
                    "failed", TOO_LATE if self._cut_off else why_it_died(self.worker.wait())
                )

    def _hear(self, message: dict) -> None:
        if "error" in message:
            self._without_run("failed", redacted(str(message["error"])))
        elif "stopped" in message:
            self._without_run("stopped")
        elif "ready" not in message:
            self._store.take(self.job, events.from_json(message))

    def _without_run(self, state: str, error: str = "") -> None:
        if self._interrupted:
            state, error = "interrupted", INTERRUPTED
        if self.job.live:
            self._store.change(self.job, state=state, error=error, progress=None)

    def _insist(self) -> None:
        """What does not end by itself, as in the middle of a download, and has learned nothing."""
        with self._store.changed:
            if self.job.live and not self.job.learning:
                self.worker.kill()


def later(seconds: float, call: Callable, *args) -> threading.Timer:
    """`call` in a thread of its own, which keeps no app alive, once the time has passed."""
    timer = threading.Timer(seconds, call, args)
    timer.daemon = True
    timer.start()
    return timer
