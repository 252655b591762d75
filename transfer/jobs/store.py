"""All jobs of a folder of runs, in memory and on disk.

`runs/.jobs` holds two files a job: `ID.json`, its record, replaced at each change of state, and
`ID.jsonl`, its events, appended one a line.
"""

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transfer import events
from transfer.errors import JobError, TransferError
from transfer.jobs.job import (
    ENDED,
    LIVE,
    RUNNING,
    WITHOUT_RUN,
    Job,
    new_id,
    shown_source,
    state_after,
)
from transfer.runs.run import RECORD
from transfer.settings import TrainingSettings

FORMAT_VERSION = 1
ID = re.compile(r"[0-9a-f]{16}")
# of a job, as its record has them; `out` is saved as a name, since the folder of runs may be moved
SAVED = "owner source name title state error note created started ended".split()
MOST_WITHOUT_RUN = 200  # jobs that ended without a run and are remembered after a restart
INTERRUPTED = "the app ended while this training was running; start it again"
LOG = logging.getLogger(__name__)


class JobStore:
    """Jobs by id. `changed` guards them and is notified of every change. Raises JobError."""

    def __init__(self, runs: Path):
        self.runs, self.folder = runs, runs / ".jobs"
        self._trash = self.folder / "gone"
        self.changed = threading.Condition()
        self._lock = _lock(self.folder)
        shutil.rmtree(self._trash, ignore_errors=True)  # where the last app was killed
        read = sorted(self._read_all(), key=_age)
        self._jobs = {job.id: job for job in read}
        for job in read:
            self._update_after_restart(job)
        without_run = [job for job in self.all() if job.state in WITHOUT_RUN]
        with logged("old trainings were not removed"):
            for job in without_run[:-MOST_WITHOUT_RUN]:
                self.forget(job)

    def close(self) -> None:
        self._lock.release()

    def all(self) -> list[Job]:
        """Oldest first."""
        with self.changed:
            return list(self._jobs.values())

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id) if isinstance(job_id, str) else None

    def add(self, job: Job) -> None:
        """Raises JobError when its record cannot be written."""
        with self.changed:
            try:
                self._write(job)
            except OSError as error:
                why = f"the training cannot be saved ({error.strerror}); free some disk space"
                raise JobError(why) from None
            self._jobs[job.id] = job
            self.changed.notify_all()

    def change(self, job: Job, **fields) -> None:
        """Set fields of a job, on disk as well."""
        with self.changed:
            was_live, state = job.live, job.state
            for name, value in fields.items():
                setattr(job, name, value)
            if job.state != state:
                job.since = time.time()
            if was_live and not job.live:
                job.ended = time.time()
            job.version += 1
            if job.id in self._jobs and not fields.keys().isdisjoint(SAVED):
                with logged("the state of a training was not saved"):
                    self._write(job)
            self.changed.notify_all()

    def record(self, job: Job, event: events.Event) -> None:
        """Update a job by an event of its training."""
        state = state_after(event, job.state)
        fields = {"state": state} if state != job.state else {}
        if isinstance(event, events.TRANSIENT):
            self.change(job, progress=event, **fields)
            return
        line = json.dumps(events.to_json(event)) + "\n"
        with logged("an event of a training was not saved"), self._events(job.id).open("a") as f:
            f.write(line)
        events.record(job.history, event)
        self.change(job, progress=None, **fields)

    def forget(self, job: Job) -> None:
        """Remove a job, but not its run. Raises OSError."""
        with self.changed:
            (self.folder / f"{job.id}.json").unlink(missing_ok=True)
            self._events(job.id).unlink(missing_ok=True)
            self.hide(job)

    def remove_run(self, job: Job) -> None:
        """Remove a job's run or checkpoint and its events, but not its record. Raises OSError."""
        self.remove_folder(job.out)
        self._events(job.id).unlink(missing_ok=True)

    def remove_unfinished(self, job: Job) -> None:
        """Remove the folder of a job that has ended, unless it holds a run or a checkpoint."""
        if not (job.out / RECORD).exists() and not job.can_resume:
            with logged("an unfinished training was not removed"):
                self.remove_folder(job.out)

    def remove_folder(self, folder: Path) -> None:
        """Renamed first, so that a folder is never seen half removed. Raises OSError."""
        if folder.exists():
            shutil.rmtree(self.set_aside(folder), ignore_errors=True)

    def set_aside(self, folder: Path) -> Path:
        """Rename a folder to where nothing lists it, and the next start of the app removes it;
        returns its new path. Raises OSError."""
        self._trash.mkdir(exist_ok=True)
        return folder.rename(self._trash / new_id())

    def hide(self, job: Job) -> None:
        """As if it were forgotten, but its record stays until the next start of the app."""
        with self.changed:
            self._jobs.pop(job.id, None)
            job.version += 1
            self.changed.notify_all()

    def unhide(self, job: Job) -> None:
        """As a start of the app would find it again."""
        with self.changed:
            jobs = [*self._jobs.values(), job]
            self._jobs = {each.id: each for each in sorted(jobs, key=_age)}
            self.changed.notify_all()

    def remove_checkpoints(self, owner: str) -> None:
        """Those of an owner's ended trainings, because a new training replaces them."""
        for job in self.all():
            if job.owner == owner and not job.live and job.can_resume:
                with logged("a checkpoint was not removed"):
                    self.remove_folder(job.out)

    def _events(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.jsonl"

    def _write(self, job: Job) -> None:
        """Raises OSError; then the record is still the one before it."""
        data = {"format_version": FORMAT_VERSION, "id": job.id, "out": job.out.name}
        data |= {"settings": job.settings.to_json()} | {name: getattr(job, name) for name in SAVED}
        part = self.folder / "part"
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")
        part.replace(self.folder / f"{job.id}.json")

    def _read_all(self) -> Iterator[Job]:
        """Every job with a valid record; other files are left alone."""
        for path in self.folder.glob("*.json"):
            if ID.fullmatch(path.stem):
                try:
                    yield self._read(path)
                except (OSError, ValueError, TypeError, KeyError, TransferError):
                    LOG.warning("skipped the job record %s, which is damaged", path.name)

    def _read(self, path: Path) -> Job:
        data = json.loads(path.read_bytes())
        if data["format_version"] != FORMAT_VERSION or data["id"] != path.stem:
            raise ValueError("another format")
        out, state = data["out"], data["state"]
        if Path(out).name != out or out.startswith(".") or state not in LIVE + ENDED:
            raise ValueError("not a run or not a state")
        if "title" not in data:  # of an earlier version, where the name was both
            shown = shown_source(data["source"])
            data |= {"name": shown, "title": "" if data["name"] == shown else data["name"]}
        if "options" in data:  # of an earlier version
            settings = TrainingSettings.from_options(**data["options"])
        else:
            settings = TrainingSettings.from_json(data["settings"])
        saved = {name: data[name] for name in SAVED} | {"created": float(data["created"])}
        job = Job(id=path.stem, out=self.runs / out, settings=settings, **saved)
        job.since = job.ended or job.created
        lines = self._events(job.id)
        for line in lines.read_bytes().splitlines() if lines.exists() else ():
            with suppress(ValueError, TransferError, AttributeError):  # cut when the app was killed
                events.record(job.history, events.from_json(json.loads(line)))
        return job

    def _update_after_restart(self, job: Job) -> None:
        """A job that was running is `done` if it saved its run, else `interrupted`."""
        saved = (job.out / RECORD).exists()
        if job.state in RUNNING and saved:
            self.change(job, state="done")
        elif job.state in RUNNING:
            self.change(job, state="interrupted", error=INTERRUPTED)
            self.remove_unfinished(job)
        elif job.state == "done" and not saved:  # somebody has deleted the run's folder
            with logged("a removed run was not forgotten"):
                self.forget(job)


def _age(job: Job) -> tuple[float, str]:
    return job.created, job.id


def _lock(folder: Path) -> FileLock:
    """Raises JobError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / "lock", thread_local=False)  # any thread may release it
        lock.acquire(blocking=False)
        return lock
    except Timeout:
        problem = "is used by another running app; close it"
    except OSError as error:
        problem = f"cannot be written to ({error.strerror}); make it writable"
    raise JobError(
        f"the folder of runs {folder.parent.name!r} {problem}, or choose another with --runs"
    )


@contextmanager
def logged(problem: str) -> Iterator[None]:
    """An OSError becomes a warning in the log: a full disk must not end a training."""
    try:
        yield
    except OSError as error:
        LOG.warning("%s (%s)", problem, error.strerror)
