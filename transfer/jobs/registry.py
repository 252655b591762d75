"""The registry of trainings: one at a time, the others in a bounded queue."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from transfer import events
from transfer.errors import JobError, TransferError
from transfer.jobs.book import INTERRUPTED, Book
from transfer.jobs.expiry import Expiry
from transfer.jobs.job import Job, hashed, new_id, run_name, shown_source
from transfer.jobs.limits import Limits, roughly, spoken
from transfer.jobs.shelf import ListedRun, Shelf
from transfer.jobs.timing import seconds_left, typical_seconds
from transfer.jobs.workers import WORKER, Worker, redacted, why_it_did_not_start, why_it_died
from transfer.run_folder import RECORD
from transfer.settings import TrainingSettings

SECONDS_TO_STOP = 2
SECONDS_TO_FINISH = 300
SECONDS_TO_CLEAR_AWAY = 5
AN_HOUR = 3_600


class Jobs:
    """Trainings by id, for any number of threads. Raises JobError when another app has `runs`.

    An `owner` is a visitor's id: a secret, of which only a hash is kept. What belongs to somebody
    else is refused as if it were not there. After a restart everything is there again: what was
    waiting waits again, in its order, and what was under way is `interrupted`.
    """

    def __init__(
        self,
        runs: Path,
        *,
        limits: Limits | None = None,
        command: tuple[str, ...] = WORKER,
        worker: Callable[[tuple[str, ...]], Worker] = Worker,
    ):
        self.runs = runs = Path(runs)
        self.limits = limits or Limits.local()
        self._hire = partial(worker, command)
        self._book = Book(runs)
        self._changed = self._book.changed
        self._shelf = Shelf(self._book, runs, self.limits)
        self._expiry = Expiry(self._book, runs, self.limits)
        self._queue = deque(job for job in self._book.all() if job.state == "queued")
        self._starts = deque((job.created, job.owner) for job in self._book.all())
        self._running: Job | None = None
        self._spare: Worker | None = None
        self._worker: Worker | None = None
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
        job = Job(
            id=job_id,
            owner=hashed(owner),
            source=source,
            out=self.runs / run_name(source, job_id),
            options=options,
            name=name or shown_source(source),
        )
        with self._changed:
            self._check_turn(job.owner)
            self._book.add(job)
            self._book.drop_checkpoints(job.owner)
            self._enqueue(job)
        self._expiry.seen(job.owner)
        return job

    def again(self, job_id: str, owner: str = "") -> Job:
        """Queue the same training once more, as `start` does; one that left a checkpoint goes on
        from there, and is the same job."""
        job = self.get(job_id, owner)
        if job.live:
            raise JobError("this training is still going on; stop it or wait for its end")
        if not job.can_go_on:
            return self.start(job.source, job.options, owner, job.name)
        self._expiry.check_room()
        with self._changed:
            self._check_turn(job.owner)
            self._book.change(job, state="queued", error="", note="", stopping=False, ended=None)
            self._enqueue(job)
        self._expiry.seen(job.owner)
        return job

    def get(self, job_id: str, owner: str = "") -> Job:
        """Raises JobError when this owner has none of that id."""
        job = self._book.find(job_id, hashed(owner))
        if job is None:
            raise JobError("expected a training of yours, found none; start one")
        return job

    def all_of(self, owner: str) -> list[Job]:
        """An owner's trainings, oldest first."""
        key = hashed(owner)
        return [job for job in self._book.all() if key and job.owner == key]

    def newest_of(self, owner: str) -> Job | None:
        owned = self.all_of(owner)
        return owned[-1] if owned else None

    def position(self, job: Job) -> int:
        """How many trainings come first, with the one under way; 0 when it does not wait."""
        with self._changed:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def expected_wait(self, job: Job) -> float | None:
        """Seconds until it starts; 0 when it does not wait, None where nobody knows."""
        with self._changed:
            if job not in self._queue:
                return 0.0
            first = [*self._queue][: self._queue.index(job)]
            running = self._running
        waits = [self._typical(other) for other in first]
        if running is not None:
            waits.append(self.seconds_left(running))
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

    def rename(self, run_id: str, owner: str, name: str) -> str:
        """Change what a run or a training is called; returns the name as kept. Raises JobError."""
        return self._shelf.rename(run_id, hashed(owner), name)

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run, or a training that has ended, with its record. Raises JobError."""
        self._shelf.delete(run_id, hashed(owner))

    def seen(self, owner: str) -> None:
        """A visitor is there: his own data is kept for another while."""
        self._expiry.seen(hashed(owner))

    def check_upload(self, owner: str, size: int) -> None:
        """Raises JobError when a visitor may not bring `size` bytes more."""
        self._expiry.check_upload(hashed(owner), size)

    def close(self) -> None:
        """End every worker. What was under way is interrupted and leaves nothing half there."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            worker, spare = self._worker, self._spare
        self._expiry.close()
        if worker is not None:
            worker.leave()
        if spare is not None:
            spare.kill()
            spare.wait()
        if worker is not None:
            worker.end()
        self._follower.join(timeout=SECONDS_TO_CLEAR_AWAY)
        self._book.records.close()

    def _enqueue(self, job: Job) -> None:
        job.context = copy_context()
        self._starts.append((time.time(), job.owner))
        self._queue.append(job)
        self._changed.notify_all()

    def _check_turn(self, owner: str) -> None:
        """Raises JobError unless this owner may start a training now."""
        if self._closed:
            raise JobError("this app is being closed; start it again first")
        if self.limits.own_runs_only and not owner:
            raise JobError("expected to know who starts this training, found nobody; reload")
        if owner and any(job.owner == owner and job.live for job in self._book.all()):
            raise JobError("a training of yours is still going on; stop it or wait for its end")
        if len(self._queue) >= self.limits.queued:
            raise JobError(f"{self.limits.queued} trainings are waiting already; try again later")
        self._check_hour(owner)

    def _check_hour(self, owner: str) -> None:
        now, most = time.time(), self.limits.jobs_an_hour
        while self._starts and self._starts[0][0] < now - AN_HOUR:
            self._starts.popleft()
        own = [started for started, by in self._starts if owner and by == owner]
        if most is not None and len(own) >= most:
            raise JobError(
                f"{most} trainings an hour are the most for one visitor; come again in "
                f"{roughly(own[-most] + AN_HOUR - now)}"
            )

    def _typical(self, job: Job) -> float | None:
        """What a training like this has taken here, within what it may take."""
        typical, most = typical_seconds(self._book.all(), job.source), self.limits.job_seconds
        return typical if typical is None or most is None else min(typical, most)

    def _end(self, job: Job, note: str = "") -> None:
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._book.change(job, state="stopped")
            elif job.live and not job.stopping:
                self._book.change(job, stopping=True, note=note)
                if self._worker is not None:
                    self._worker.tell("stop")
                    _later(SECONDS_TO_STOP, self._insist, job, self._worker)

    def _insist(self, job: Job, worker: Worker) -> None:
        """What does not end by itself, as in the middle of a download, and has learned nothing."""
        with self._changed:
            if job.live and not job.learning:
                worker.kill()

    def _run_queue(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                try:
                    worker = self._hand_over(job)
                except (OSError, RuntimeError) as error:
                    self._book.change(job, state="failed", error=why_it_did_not_start(error))
                    continue
            timers = self._timers(job, worker)
            self._follow(job, worker)
            for timer in timers:
                timer.cancel()
            self.keep_warm()

    def _hand_over(self, job: Job) -> Worker:
        """Give the job to a worker; the lock is held, so that a `stop` cannot come before it."""
        order = {"source": job.source, "out": str(job.out.absolute()), "options": job.options}
        worker = self._spare if self._spare and self._spare.alive else self._hire()
        self._worker, self._spare, self._running = worker, None, job
        self._book.change(job, state="loading", started=time.time(), worker=worker.mark)
        job.context.run(worker.tell, json.dumps(order))
        return worker

    def _timers(self, job: Job, worker: Worker) -> list[threading.Timer]:
        most = self.limits.job_seconds
        if most is None:
            return []
        note = f"stopped after {spoken(most)}, the most that a training may take here"
        return [
            _later(most, self._end, job, note),
            _later(most + SECONDS_TO_FINISH, worker.kill),
        ]

    def _follow(self, job: Job, worker: Worker) -> None:
        """Take in what the worker says until it ends, and clear away what it left unfinished."""
        for message in worker.messages():
            with suppress(TransferError):
                self._hear(job, message)
        status = worker.wait()
        with self._changed:
            self._worker = self._running = None
            if not (job.out / RECORD).exists() and not job.can_go_on:
                with suppress(OSError):
                    self._book.records.remove_folder(job.out)
            if job.live and job.stopping and not job.learning:
                self._ended(job, "stopped")
            elif job.live:
                self._ended(job, "failed", why_it_died(status))

    def _hear(self, job: Job, message: dict) -> None:
        if "error" in message:
            self._ended(job, "failed", redacted(str(message["error"])))
        elif "stopped" in message:
            self._ended(job, "stopped")
        elif "ready" not in message:
            self._book.take(job, events.from_json(message))

    def _ended(self, job: Job, state: str, error: str = "") -> None:
        """Without a run; the end of the app is no fault of the job's."""
        if self._closed:
            state, error = "interrupted", INTERRUPTED
        if job.live:
            self._book.change(job, state=state, error=error, passing=None)


def _later(seconds: float, call, *args) -> threading.Timer:
    timer = threading.Timer(seconds, call, args)
    timer.daemon = True
    timer.start()
    return timer
