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
from transfer.jobs.expiry import Expiry
from transfer.jobs.finished_runs import FinishedRuns
from transfer.jobs.job import Job, hashed, new_id, run_name, shown_source
from transfer.jobs.limits import JobLimits, RateLimit
from transfer.jobs.process import WORKER, Worker
from transfer.jobs.store import INTERRUPTED, JobStore
from transfer.settings import TrainingSettings


class JobManager:
    """Jobs by id, for any number of threads. Raises JobError when another app is using `runs`.

    `owner` is a visitor's id, a secret of which only a hash is stored. Another owner's job does not
    exist for them. After a restart the queue is the same, and what was running is `interrupted`.
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
        self.finished = FinishedRuns(self._store, self.limits)
        self.expiry = Expiry(self._store, self.limits)
        self._queue = deque(job for job in self._store.all() if job.state == "queued")
        self._rate = RateLimit(self.limits.jobs_per_hour, self._store.all())
        self._execution: JobExecution | None = None
        self._spare: Worker | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run_queue, daemon=True, name="jobs")
        self._thread.start()

    def keep_warm(self) -> None:
        """Start a worker that imports torch before there is a job for it."""
        with self._changed:
            if not self._closed and not (self._spare and self._spare.alive):
                with suppress(OSError, RuntimeError):  # the next job reports it
                    self._spare = self._new_worker()

    def start(
        self, source: str, settings: TrainingSettings, owner: str = "", name: str = ""
    ) -> Job:
        """Queue a training on images called `name`. Raises JobError when the owner must wait."""
        self.expiry.check_disk()
        job_id = new_id()
        with self._changed:
            self._check_may_start(hashed(owner))
            job = Job(
                id=job_id,
                owner=hashed(owner),
                source=source,
                out=self.runs / run_name(source, job_id),
                settings=settings,
                name=name or shown_source(source),
            )
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
        self.expiry.check_disk()
        with self._changed:
            self._check_may_start(job.owner)
            fresh = {"started": None, "ended": None, "stopping": False, "error": "", "note": ""}
            self._store.change(job, state="queued", **fresh)
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
        return next(reversed(self.all_of(owner)), None)

    def position(self, job: Job) -> int:
        """How many trainings come first, including the one that runs; 0 unless it is queued."""
        return len(self._earlier(job))

    def expected_wait(self, job: Job) -> float | None:
        """Seconds until it starts, 0 unless it is queued; None if unknown."""
        waits = [self.seconds_left(other) for other in self._earlier(job)]
        return None if None in waits else sum(waits)

    def _earlier(self, job: Job) -> list[Job]:
        with self._changed:
            if job not in self._queue:
                return []
            running = [self._execution.job] if self._execution else []
            return running + [*self._queue][: self._queue.index(job)]

    def seconds_left(self, job: Job) -> float | None:
        """Of a live training, from when it starts; 0 once it has ended, None if unknown."""
        if not job.live:
            return 0.0
        typical = typical_seconds(self._store.all(), job.source)
        return seconds_left(job, typical, self.limits.job_seconds)

    def stop(self, job_id: str, owner: str = "") -> None:
        """End it within one batch and save what it learned. Raises JobError."""
        job = self.get(job_id, owner)
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._store.change(job, state="stopped")
            elif self._execution is not None and self._execution.job is job:
                self._execution.stop()

    def close(self) -> None:
        """End every worker. A running job is interrupted and leaves at most a checkpoint."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._execution is not None:
                self._execution.kill("interrupted", INTERRUPTED)
            if self._spare is not None:
                self._spare.kill()
                self._spare.wait()
        self.expiry.closed.set()
        self._thread.join(timeout=5)
        self.finished.close()
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
        self._rate.count(owner)

    def _enqueue(self, job: Job) -> None:
        job.context = copy_context()
        self._queue.append(job)
        self._changed.notify_all()

    def _run_queue(self) -> None:
        while (execution := self._next()) is not None:
            execution.follow(self.limits.job_seconds)
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
                spare, self._spare = self._spare, None
                try:
                    worker = spare if spare and spare.alive else self._new_worker()
                except (OSError, RuntimeError) as error:
                    why = getattr(error, "strerror", None) or error
                    failure = f"no process could be started for it ({why}); try again later"
                    self._store.change(job, state="failed", error=failure)
                    continue
                self._execution = JobExecution(job, worker, self._store)
                return self._execution
