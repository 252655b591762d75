"""The finished runs of a folder: listed, renamed and deleted."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer.errors import JobError
from transfer.formatting import encodable
from transfer.jobs.job import Job, hashed, new_id, shown_source
from transfer.jobs.limits import JobLimits
from transfer.jobs.store import JobStore
from transfer.runs.run import RECORD, REPORT
from transfer.settings import TrainingSettings

LONGEST_NAME = 60  # characters


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A finished run as it is shown to people."""

    id: str  # the name of its folder, `encodable`
    name: str
    job_id: str  # empty for a run of the command line
    source: str
    accuracy: float  # on the test images
    created: float  # when it was finished, in seconds since 1970
    seconds_left: float | None  # until it is removed; None where it stays
    path: Path


class FinishedRuns:
    """All runs in a folder, trained by a job or on the command line."""

    def __init__(self, store: JobStore, limits: JobLimits):
        self.store, self.limits = store, limits

    def of(self, owner: str) -> list[ListedRun]:
        """Newest first: with `own_runs_only` the owner's runs, else every run."""
        jobs = {job.out.name: job for job in self.store.all()}
        if self.limits.own_runs_only:
            key = hashed(owner)
            own = [job for job in jobs.values() if key and job.owner == key]
            paths = [job.out for job in own if job.state == "done"]
        else:
            paths = [path.parent for path in self.store.runs.glob("[!.]*/" + RECORD)]
        listed = [_listed(path, jobs.get(path.name), self.limits) for path in paths]
        return sorted(filter(None, listed), key=lambda run: run.created, reverse=True)

    def get(self, run_id: str | None, owner: str) -> ListedRun:
        """The id is looked up and never used as a path. Raises JobError."""
        for run in self.of(owner):
            if run.id == run_id:
                return run
        raise JobError("you have no such finished run; choose one from the list")

    def rename(self, run_id: str, owner: str, name: str) -> None:
        """Change the shown name, not the folder. Raises JobError."""
        name = name.strip() if isinstance(name, str) else ""
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise JobError(f"a name must have 1 to {LONGEST_NAME} printable characters")
        with self.store.changed:
            run = self.get(run_id, owner)
            if job := self.store.get(run.job_id):
                self.store.change(job, name=name)
            else:
                self.store.add(_job_of_run(run, name))

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run and the record of its training. Raises JobError."""
        with self.store.changed:
            run = self.get(run_id, owner)
            job = self.store.get(run.job_id)
            if job and job.live:
                raise JobError("this training is still running; stop it first")
            try:
                self.store.remove_folder(run.path)
                if job:
                    self.store.forget(job)
            except OSError as error:
                raise JobError(f"the run cannot be removed ({error.strerror})") from None


def _listed(path: Path, job: Job | None, limits: JobLimits) -> ListedRun | None:
    """None where the run cannot be read."""
    try:
        finished = (path / RECORD).stat().st_mtime
        source, accuracy = _summary(path, finished)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if job is not None:
        source, finished = job.source, job.ended or finished
    return ListedRun(
        id=encodable(path.name),
        name=(job and job.name) or encodable(path.name),
        job_id=job.id if job else "",
        source=shown_source(source),
        accuracy=accuracy,
        created=finished,
        seconds_left=limits.seconds_left(finished) if job and job.owner else None,
        path=path,
    )


@lru_cache(maxsize=4096)
def _summary(path: Path, _changed: float) -> tuple[str, float]:
    """(source, accuracy on the test images) of a run, read again only when its file changes."""
    record, report = (json.loads((path / name).read_bytes()) for name in (RECORD, REPORT))
    return str(record["source"]), float(report["accuracy"])


def _job_of_run(run: ListedRun, name: str) -> Job:
    """A job that holds the name of a run of the command line; it has no owner and stays."""
    known = {"id": new_id(), "owner": "", "source": run.source, "out": run.path, "name": name}
    times = {"created": run.created, "ended": run.created}
    return Job(settings=TrainingSettings(), state="done", **known, **times)
