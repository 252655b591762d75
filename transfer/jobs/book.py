"""All jobs, in memory and on disk, and what became of them while no app was running."""

import json
import logging
import threading
import time
from pathlib import Path

from transfer import events
from transfer.errors import JobError
from transfer.jobs.job import Job, state_after
from transfer.jobs.records import KINDS, Records
from transfer.jobs.workers import end_leftover
from transfer.run_folder import RECORD

FRUITLESS = ("stopped", "failed", "interrupted")
MOST_FRUITLESS = 200
INTERRUPTED = "the app ended while this training was under way; start it again"
LOG = logging.getLogger(__name__)


class Book:
    """Jobs by id. `changed` guards them and tells of every change. Raises JobError when opened
    on a folder of runs that another app has."""

    def __init__(self, runs: Path):
        self.records = Records(runs)
        self.changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        for job in self.records.read():
            if self._settled(job):
                self._jobs[job.id] = job
        fruitless = [job for job in self.all() if job.state in FRUITLESS]
        for job in fruitless[:-MOST_FRUITLESS]:
            self.forget(job)

    def add(self, job: Job) -> None:
        """Raises JobError when it cannot be written down."""
        with self.changed:
            try:
                self.records.write(job)
            except OSError as error:
                raise JobError(
                    f"the training cannot be written down ({error.strerror}); free some disk"
                ) from None
            self._jobs[job.id] = job
            self.changed.notify_all()

    def by_id(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id) if isinstance(job_id, str) else None

    def find(self, job_id: str, owner: str) -> Job | None:
        """`owner` is hashed; what is another's is as good as not there."""
        job = self.by_id(job_id)
        return job if job is not None and job.owner == owner else None

    def all(self) -> list[Job]:
        """Oldest first."""
        with self.changed:
            return list(self._jobs.values())

    def change(self, job: Job, **fields) -> None:
        """Set fields, on disk as well, and tell whoever watches."""
        with self.changed:
            before = job.live
            if fields.get("state", job.state) != job.state:
                job.since = time.time()
            for name, value in fields.items():
                setattr(job, name, value)
            if before and not job.live:
                job.ended = time.time()
                job.worker = None
            job.version += 1
            if not KINDS.keys().isdisjoint(fields):
                self._write(job)
            self.changed.notify_all()

    def take(self, job: Job, event: events.Event) -> None:
        """Let an event change the job."""
        state = state_after(event) or job.state
        fields = {"state": state} if state != job.state else {}
        if isinstance(event, events.PASSING):
            self.change(job, passing=event, **fields)
            return
        try:
            self.records.append(job, event)
        except OSError as error:
            LOG.warning("an event of a training was not written down (%s)", error.strerror)
        events.tell(job.history, event)
        self.change(job, passing=None, **fields)

    def forget(self, job: Job) -> None:
        """Raises OSError."""
        with self.changed:
            self.records.remove(job.id)
            self._jobs.pop(job.id, None)
            job.version += 1
            self.changed.notify_all()

    def drop_checkpoints(self, owner: str) -> None:
        """Of an owner's trainings that were cut off: another one has taken their place."""
        for job in self.all():
            if job.owner == owner and not job.live and job.can_go_on:
                try:
                    self.records.remove_folder(job.out)
                except OSError as error:
                    LOG.warning("a checkpoint was not removed (%s)", error.strerror)

    def _write(self, job: Job) -> None:
        if job.id not in self._jobs:
            return
        try:
            self.records.write(job)
        except OSError as error:
            LOG.warning("the state of a training was not written down (%s)", error.strerror)

    def _settled(self, job: Job) -> bool:
        """Bring a job that was read to where it stands now; False where it has gone for good."""
        whole = (job.out / RECORD).exists()
        if job.live and job.state != "queued":
            end_leftover(job.worker)
            whole = (job.out / RECORD).exists()
            job.state, job.ended, job.worker = "done" if whole else "interrupted", time.time(), None
            job.error = "" if whole else INTERRUPTED
            self._put_down(job, whole)
        elif job.state == "done" and not whole:
            self.records.remove(job.id)  # the run was removed by hand
            return False
        if job.state == "done" and not any(isinstance(e, events.RunSaved) for e in job.history):
            job.history += _saved(job.out)
        return True

    def _put_down(self, job: Job, whole: bool) -> None:
        try:
            if not whole and not job.can_go_on:
                self.records.remove_folder(job.out)
            self.records.write(job)
        except OSError as error:
            LOG.warning("an interrupted training was not cleared away (%s)", error.strerror)


def _saved(run: Path) -> list[events.RunSaved]:
    """The event that was lost with the app, from the run itself."""
    try:
        result = json.loads((run / RECORD).read_text(encoding="utf-8"))["result"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [events.RunSaved(run=str(run), result=result)] if isinstance(result, dict) else []
