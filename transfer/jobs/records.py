"""Job records on disk: a JSON file a job, its events as JSON lines beside it."""

import json
import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transfer import events
from transfer.errors import JobError, TransferError
from transfer.jobs.job import ENDED, LIVE, Job, new_id

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


class Records:
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
            events.tell(job.history, event)
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
