"""All jobs, in memory and on disk, and what became of them while no app was running."""

import json
import logging
import re
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transfer import events
from transfer.errors import JobError, TransferError
from transfer.jobs.job import ENDED, LIVE, Job, new_id, state_after
from transfer.jobs.process import end_leftover
from transfer.runs.run import RECORD

FRUITLESS = ("stopped", "failed", "interrupted")
MOST_FRUITLESS = 200
INTERRUPTED = "the app ended while this training was under way; start it again"
LOG = logging.getLogger(__name__)


class JobStore:
    """Jobs by id. `changed` guards them and tells of every change. Raises JobError when opened
    on a folder of runs that another app has."""

    def __init__(self, runs: Path):
        self.records = JobRecords(runs)
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
        if isinstance(event, events.TRANSIENT):
            self.change(job, progress=event, **fields)
            return
        try:
            self.records.append(job, event)
        except OSError as error:
            LOG.warning("an event of a training was not written down (%s)", error.strerror)
        events.record(job.history, event)
        self.change(job, progress=None, **fields)

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
            if job.owner == owner and not job.live and job.can_resume:
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
            if not whole and not job.can_resume:
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


FORMAT_VERSION = 1
FOLDER, LOCK, GONE = ".jobs", "lock", "gone"
NAMED = re.compile(r"[0-9a-f]{16}")
# what a job is known by again; `out` is kept as a name, for the folder of runs may be moved
KINDS = {
    "owner": str,
    "source": str,
    "options": dict,
    "name": str,
    "state": str,
    "error": str,
    "note": str,
    "created": (int, float),
    "started": (int, float, type(None)),
    "ended": (int, float, type(None)),
    "worker": (list, tuple, type(None)),
}
LOG = logging.getLogger(__name__)


class JobRecords:
    """All records below a folder of runs, which one process has to itself.

    Raises JobError when another one has it, or when it cannot be written to.
    """

    def __init__(self, runs: Path):
        self.runs = runs
        self.folder = runs / FOLDER
        self.gone = self.folder / GONE
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # any thread may let go of it
            self._lock = FileLock(self.folder / LOCK, thread_local=False)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise JobError(
                f"expected a folder of runs of this app's own, found another app at work in "
                f"{runs.name!r}; close that one, or start with --runs and another folder"
            ) from None
        except OSError as error:
            raise JobError(
                f"the folder of runs {runs.name!r} cannot be written to ({error.strerror}); "
                "choose another with --runs"
            ) from None
        self._clear_up()

    def read(self) -> list[Job]:
        """Every job that can be made out, oldest first; what is cut or foreign is left alone."""
        jobs = []
        for path in self.folder.glob("*.json"):
            if not NAMED.fullmatch(path.stem):
                continue
            try:
                jobs.append(self._read(path))
            except (OSError, ValueError, TypeError, KeyError):
                LOG.warning("skipped the job record %s, which is cut or foreign", path.name)
        return sorted(jobs, key=lambda job: (job.created, job.id))

    def write(self, job: Job) -> None:
        """The whole record or the one before it, whatever happens. Raises OSError."""
        data = {"format_version": FORMAT_VERSION, "id": job.id, "out": job.out.name}
        data |= {name: getattr(job, name) for name in KINDS}
        part = self.folder / f"{job.id}.part"
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")
        part.replace(self.folder / f"{job.id}.json")

    def append(self, job: Job, event: events.Event) -> None:
        """Raises OSError."""
        with self._history(job.id).open("a", encoding="utf-8") as file:
            file.write(json.dumps(events.to_json(event)) + "\n")

    def remove(self, job_id: str) -> None:
        (self.folder / f"{job_id}.json").unlink(missing_ok=True)
        self.remove_history(job_id)

    def remove_history(self, job_id: str) -> None:
        self._history(job_id).unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """At once for whoever looks, then bit by bit; an end in between leaves nothing half there.

        Raises OSError.
        """
        if not folder.exists():
            return
        self.gone.mkdir(exist_ok=True)
        shutil.rmtree(folder.rename(self.gone / new_id()), ignore_errors=True)

    def close(self) -> None:
        self._lock.release()

    def _clear_up(self) -> None:
        """What a killed app was about to write or remove."""
        shutil.rmtree(self.gone, ignore_errors=True)
        for part in self.folder.glob("*.part"):
            with suppress(OSError):
                part.unlink()

    def _read(self, path: Path) -> Job:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format_version"] != FORMAT_VERSION or data["id"] != path.stem:
            raise ValueError("another format")
        known = {name: data[name] for name in KINDS}
        for name, kind in KINDS.items():
            if not isinstance(known[name], kind):
                raise TypeError(name)
        out = data["out"]
        if Path(out).name != out or out.startswith(".") or known["state"] not in LIVE + ENDED:
            raise ValueError("out of place")
        job = Job(id=path.stem, out=self.runs / out, **known)
        job.since = job.ended or job.created
        for event in self._events(path.stem):
            events.record(job.history, event)
        return job

    def _events(self, job_id: str):
        try:
            lines = self._history(job_id).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in lines.splitlines():
            with suppress(ValueError, TransferError, AttributeError):  # cut when the app ended
                yield events.from_json(json.loads(line))

    def _history(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.jsonl"
