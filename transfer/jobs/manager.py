"""The registry of trainings: one at a time, the others in a bounded queue."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.eta import seconds_left, typical_seconds
from transfer.jobs.execution import SECONDS_TO_FINISH, JobExecution, later
from transfer.jobs.expiry import Expiry
from transfer.jobs.finished_runs import FinishedRuns, ListedRun
from transfer.jobs.job import Job, hashed, new_id, run_name, shown_source
from transfer.jobs.limits import JobLimits, RateLimit, spoken
from transfer.jobs.process import WORKER, Worker, why_it_did_not_start
from transfer.jobs.store import JobStore
from transfer.settings import TrainingSettings

SECONDS_TO_CLEAR_AWAY = 5


class JobManager:
    """Trainings by id, for any number of threads. Raises JobError when another app has `runs`.

    An `owner` is a visitor's id: a secret, of which only a hash is kept. What belongs to somebody
    else is refused as if it were not there. After a restart everything is there again: what was
    waiting waits again, in its order, and what was under way is `interrupted`.
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
        self.limits = limits or JobLimits.local()
        self._hire = partial(worker, command)
        self._store = JobStore(runs)
        self._changed = self._store.changed
        self._shelf = FinishedRuns(self._store, runs, self.limits)
        self._expiry = Expiry(self._store, runs, self.limits)
        self._queue = deque(job for job in self._store.all() if job.state == "queued")
        self._hourly = RateLimit(self.limits.jobs_an_hour, self._store.all())
        self._attempt: JobExecution | None = None
        self._spare: Worker | None = None
        self._closed = False
        self._follower = threading.Thread(target=self._run_queue, daemon=True, name="jobs")
        self._follower.start()

    def keep_warm(self) -> None:
        """Have a worker with everything imported at hand."""
        with self._changed:
            if not self._closed and not (self._spare and self._spare.alive):
                with suppress(OSError, RuntimeError):  # a job that finds none says so
                    self._spare = self._hire()

    def start(self, source: str, options: dict, owner: str = "", name: str = "") -> Job:
        """Queue a training, called `name` for people.

        Raises SettingsError for bad options, JobError when it must wait: an owner has one live job
        at a time, the queue has an end, and so have the limits.
        """
        TrainingSettings.from_options(**options)
        self._expiry.check_room()
        job_id = new_id()
        with self._changed:
            self._check_turn(hashed(owner))
            job = Job(
                id=job_id,
                owner=hashed(owner),
                source=source,
                out=self.runs / run_name(source, job_id),
                options=options,
                name=name or shown_source(source),
            )
            self._store.add(job)
            self._store.drop_checkpoints(job.owner)
            self._enqueue(job)
        self._expiry.record_visit(job.owner)
        return job

    def retry(self, job_id: str, owner: str = "") -> Job:
        """Queue the same training once more, as `start` does; one that left a checkpoint goes on
        from there, and is the same job."""
        job = self.get(job_id, owner)
        if job.live:
            raise JobError("this training is still going on; stop it or wait for its end")
        if not job.can_resume:
            return self.start(job.source, job.options, owner, job.name)
        self._expiry.check_room()
        with self._changed:
            self._check_turn(job.owner)
            self._store.change(job, state="queued", error="", note="", stopping=False, ended=None)
            self._enqueue(job)
        self._expiry.record_visit(job.owner)
        return job

    def get(self, job_id: str, owner: str = "") -> Job:
        """Raises JobError when this owner has none of that id."""
        job = self._store.find(job_id, hashed(owner))
        if job is None:
            raise JobError("expected a training of yours, found none; start one")
        return job

    def all_of(self, owner: str) -> list[Job]:
        """An owner's trainings, oldest first."""
        key = hashed(owner)
        return [job for job in self._store.all() if key and job.owner == key]

    def newest_of(self, owner: str) -> Job | None:
        owned = self.all_of(owner)
        return owned[-1] if owned else None

    def position(self, job: Job) -> int:
        """How many trainings come first, with the one under way; 0 when it does not wait."""
        with self._changed:
            under_way = self._attempt is not None
            return self._queue.index(job) + under_way if job in self._queue else 0

    def expected_wait(self, job: Job) -> float | None:
        """Seconds until it starts; 0 when it does not wait, None where nobody knows."""
        with self._changed:
            if job not in self._queue:
                return 0.0
            first = [*self._queue][: self._queue.index(job)]
            attempt = self._attempt
        waits = [self._typical(other) for other in first]
        if attempt is not None:
            waits.append(self.seconds_left(attempt.job))
        return None if None in waits else sum(waits)

    def seconds_left(self, job: Job) -> float | None:
        """Of a training under way; 0 when it has ended, None where nobody knows."""
        if not job.live:
            return 0.0
        return seconds_left(job, self._typical(job), self.limits.job_seconds)

    def stop(self, job_id: str, owner: str = "") -> None:
        """End a training within one batch and keep what it learned; one in the queue just goes.

        One that has not begun to learn ends at once, and nothing is kept. Raises JobError.
        """
        self._end(self.get(job_id, owner))

    def runs_of(self, owner: str) -> list[ListedRun]:
        """The finished runs that a visitor may use, newest first."""
        return self._shelf.of(hashed(owner))

    def run_of(self, owner: str, run_id: str | None) -> ListedRun:
        """One of those, by an id that is looked up, never taken as a path. Raises JobError."""
        for run in self.runs_of(owner):
            if run.id == run_id:
                return run
        raise JobError("expected a finished run of yours, found none; choose one from the list")

    def rename(self, run_id: str, owner: str, name: str) -> str:
        """Change what a run or a training is called; returns the name as kept. Raises JobError."""
        return self._shelf.rename(run_id, hashed(owner), name)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run, or a training that has ended, with its record. Raises JobError."""
        self._shelf.delete(run_id, hashed(owner))

    def record_visit(self, owner: str) -> None:
        """A visitor is there: his own data is kept for another while."""
        self._expiry.record_visit(hashed(owner))

    def check_upload(self, owner: str, size: int) -> None:
        """Raises JobError when a visitor may not bring `size` bytes more."""
        self._expiry.check_upload(hashed(owner), size)

    def close(self) -> None:
        """End every worker. What was under way is interrupted and leaves nothing half there."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            attempt, spare = self._attempt, self._spare
            if attempt is not None:
                attempt.interrupt()
        self._expiry.close()
        if spare is not None:
            spare.kill()
            spare.wait()
        if attempt is not None:
            attempt.worker.end()
        self._follower.join(timeout=SECONDS_TO_CLEAR_AWAY)
        self._store.records.close()

    def _enqueue(self, job: Job) -> None:
        job.context = copy_context()
        self._hourly.count(job.owner)
        self._queue.append(job)
        self._changed.notify_all()

    def _check_turn(self, owner: str) -> None:
        """Raises JobError unless this owner may start a training now."""
        if self._closed:
            raise JobError("this app is being closed; start it again first")
        if self.limits.own_runs_only and not owner:
            raise JobError("expected to know who starts this training, found nobody; reload")
        if owner and any(job.owner == owner and job.live for job in self._store.all()):
            raise JobError("a training of yours is still going on; stop it or wait for its end")
        if len(self._queue) >= self.limits.queued:
            raise JobError(f"{self.limits.queued} trainings are waiting already; try again later")
        self._hourly.check(owner)

    def _typical(self, job: Job) -> float | None:
        """What a training like this has taken here, within what it may take."""
        typical, most = typical_seconds(self._store.all(), job.source), self.limits.job_seconds
        return typical if typical is None or most is None else min(typical, most)

    def _end(self, job: Job, note: str = "") -> None:
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._store.change(job, state="stopped")
            elif self._attempt is not None and self._attempt.job is job:
                self._attempt.stop(note)

    def _run_queue(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                try:
                    attempt = self._begin(job)
                except (OSError, RuntimeError) as error:
                    self._store.change(job, state="failed", error=why_it_did_not_start(error))
                    continue
            timers = self._timers(attempt)
            attempt.follow()
            for timer in timers:
                timer.cancel()
            with self._changed:
                self._attempt = None
                attempt.end()
            self.keep_warm()

    def _begin(self, job: Job) -> JobExecution:
        """Give the job to a worker; the lock is held, so that a `stop` cannot come before it."""
        worker = self._spare if self._spare and self._spare.alive else self._hire()
        self._spare, self._attempt = None, JobExecution(job, worker, self._store)
        self._attempt.begin()
        return self._attempt

    def _timers(self, attempt: JobExecution) -> list[threading.Timer]:
        most = self.limits.job_seconds
        if most is None:
            return []
        note = f"stopped after {spoken(most)}, the most that a training may take here"
        return [
            later(most, self._end, attempt.job, note),
            later(most + SECONDS_TO_FINISH, attempt.cut_off),
        ]
