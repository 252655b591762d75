"""Trainings in the background: one runs, the others wait in a queue."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.eta import seconds_left, typical_seconds
from transfer.jobs.execution import JobExecution
from transfer.jobs.finished_runs import FinishedRuns, ListedRun
from transfer.jobs.job import Job, hashed, new_id, run_name, shown_source
from transfer.jobs.limits import Expiry, JobLimits, RateLimit
from transfer.jobs.process import WORKER, Worker
from transfer.jobs.store import JobStore
from transfer.settings import TrainingSettings

SECONDS_TO_CLEAN_UP = 5


class JobManager:
    """Jobs by id, for any number of threads. Raises JobError when another app is using `runs`.

    `owner` is a visitor's id, a secret of which only a hash is stored. Another owner's job is
    treated as if it did not exist. After a restart, queued jobs are queued again in their order,
    and the job that was running is `interrupted`.
    """

    def __init__(
        self,
        runs: Path,
        *,
        limits: JobLimits | None = None,
        command: tuple[str, ...] = WORKER,
        worker: Callable[[tuple[str, ...]], Worker] = Worker,
    ):
        self.runs = runs = Path(runs)
        self.limits = limits or JobLimits()
        self._new_worker = partial(worker, command)
        self._store = JobStore(runs)
        self._changed = self._store.changed
        self._finished = FinishedRuns(self._store, self.limits)
        self._expiry = Expiry(self._store, self.limits)
        self._queue = deque(job for job in self._store.all() if job.state == "queued")
        self._rate = RateLimit(self.limits.jobs_per_hour, self._store.all())
        self._execution: JobExecution | None = None
        self._spare: Worker | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run_queue, daemon=True, name="jobs")
        self._thread.start()

    def keep_warm(self) -> None:
        """Start a worker that imports everything before there is a job for it."""
        with self._changed:
            if not self._closed and not (self._spare and self._spare.alive):
                with suppress(OSError, RuntimeError):  # the next job reports it
                    self._spare = self._new_worker()

    def start(
        self, source: str, settings: TrainingSettings, owner: str = "", name: str = ""
    ) -> Job:
        """Queue a training; `name` is what people see.

        Raises JobError when the owner has to wait: one live job at a time, and the limits.
        """
        self._expiry.check_disk()
        job_id = new_id()
        with self._changed:
            self._check_may_start(hashed(owner))
            out, name = self.runs / run_name(source, job_id), name or shown_source(source)
            known = {"id": job_id, "owner": hashed(owner), "source": source, "name": name}
            job = Job(out=out, settings=settings, **known)
            self._store.add(job)
            self._store.remove_checkpoints(job.owner)
            self._enqueue(job)
        return job

    def retry(self, job_id: str, owner: str = "") -> Job:
        """Queue the same training again. With a checkpoint it is the same job and resumes."""
        job = self.get(job_id, owner)
        if job.live:
            raise JobError("this training is still running; stop it or wait for its end")
        if not job.can_resume:
            return self.start(job.source, job.settings, owner, job.name)
        self._expiry.check_disk()
        with self._changed:
            self._check_may_start(job.owner)
            self._store.change(job, state="queued", error="", note="", stopping=False, ended=None)
            self._enqueue(job)
        return job

    def get(self, job_id: str, owner: str = "") -> Job:
        """Raises JobError when this owner has no such job."""
        job = self._store.get(job_id)
        if job is None or job.owner != hashed(owner):
            raise JobError("you have no such training; start one")
        return job

    def all_of(self, owner: str) -> list[Job]:
        """An owner's jobs, oldest first."""
        key = hashed(owner)
        return [job for job in self._store.all() if key and job.owner == key]

    def newest_of(self, owner: str) -> Job | None:
        owned = self.all_of(owner)
        return owned[-1] if owned else None

    def position(self, job: Job) -> int:
        """How many trainings come first, including the one that runs; 0 unless it is queued."""
        with self._changed:
            running = self._execution is not None
            return self._queue.index(job) + running if job in self._queue else 0

    def expected_wait(self, job: Job) -> float | None:
        """Seconds until it starts, 0 unless it is queued; None where nothing is known."""
        with self._changed:
            if job not in self._queue:
                return 0.0
            earlier = [*self._queue][: self._queue.index(job)]
            execution = self._execution
        waits = [self._typical(other) for other in earlier]
        if execution is not None:
            waits.append(self.seconds_left(execution.job))
        return None if None in waits else sum(waits)

    def seconds_left(self, job: Job) -> float | None:
        """Of a running training; 0 once it has ended, None where nothing is known."""
        if not job.live:
            return 0.0
        return seconds_left(job, self._typical(job), self.limits.job_seconds)

    def stop(self, job_id: str, owner: str = "") -> None:
        """End a training within one batch and save what it learned, if anything.

        A queued one leaves the queue. Raises JobError.
        """
        job = self.get(job_id, owner)
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._store.change(job, state="stopped")
            elif self._execution is not None and self._execution.job is job:
                self._execution.stop()

    def runs_of(self, owner: str) -> list[ListedRun]:
        """The finished runs that a visitor may use, newest first."""
        return self._finished.of(hashed(owner))

    def run_of(self, owner: str, run_id: str | None) -> ListedRun:
        """One of those; the id is looked up and never used as a path. Raises JobError."""
        for run in self.runs_of(owner):
            if run.id == run_id:
                return run
        raise JobError("you have no such finished run; choose one from the list")

    def rename(self, run_id: str, owner: str, name: str) -> str:
        """Change the shown name of a run or training; returns the name. Raises JobError."""
        return self._finished.rename(run_id, hashed(owner), name)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run, or a training that has ended, with its record. Raises JobError."""
        self._finished.delete(run_id, hashed(owner))

    def record_visit(self, owner: str) -> None:
        """A visit keeps the visitor's own images from expiring."""
        self._expiry.record_visit(hashed(owner))

    def check_upload(self, owner: str, size: int) -> None:
        """Raises JobError when a visitor may not upload `size` more bytes."""
        self._expiry.check_upload(hashed(owner), size)

    def close(self) -> None:
        """End every worker. A running job is interrupted and leaves at most a checkpoint."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._execution is not None:
                self._execution.interrupt()
            if self._spare is not None:
                self._spare.kill()
                self._spare.wait()
        self._expiry.close()
        self._thread.join(timeout=SECONDS_TO_CLEAN_UP)
        self._store.close()

    def _check_may_start(self, owner: str) -> None:
        """Raises JobError unless this owner may start a training now."""
        if self._closed:
            raise JobError("this app is closing; start it again first")
        if self.limits.own_runs_only and not owner:
            raise JobError("this page has lost your session; reload it and start again")
        if owner and any(job.owner == owner and job.live for job in self._store.all()):
            raise JobError("your last training is still running; stop it or wait for its end")
        if len(self._queue) >= self.limits.queued:
            raise JobError(f"{self.limits.queued} trainings are waiting already; try again later")
        self._rate.check(owner)

    def _enqueue(self, job: Job) -> None:
        job.context = copy_context()
        self._rate.count(job.owner)
        self._queue.append(job)
        self._changed.notify_all()
        self._expiry.record_visit(job.owner)

    def _typical(self, job: Job) -> float | None:
        """What trainings like this have taken, within the time limit."""
        typical, most = typical_seconds(self._store.all(), job.source), self.limits.job_seconds
        return typical if typical is None or most is None else min(typical, most)

    def _run_queue(self) -> None:
        while (execution := self._next()) is not None:
            execution.follow()
            with self._changed:
                self._execution = None
                execution.finish()
            self.keep_warm()

    def _next(self) -> JobExecution | None:
        """The next job in a worker, once there is one; None when the app closes."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return None
                job = self._queue.popleft()
                try:
                    self._execution = self._begin(job)
                    return self._execution
                except (OSError, RuntimeError) as error:
                    why = getattr(error, "strerror", None) or error
                    self._store.change(
                        job,
                        state="failed",
                        error=f"no process could be started for the training ({why}); try again "
                        "later",
                    )

    def _begin(self, job: Job) -> JobExecution:
        worker = self._spare if self._spare and self._spare.alive else self._new_worker()
        self._spare = None
        return JobExecution(job, worker, self._store, self.limits.job_seconds)
