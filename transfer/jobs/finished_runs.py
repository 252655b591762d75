"""The finished runs of a folder: listed, renamed and deleted."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.job import Job, new_id, shown_source
from transfer.jobs.limits import JobLimits
from transfer.jobs.store import JobStore
from transfer.runs.run import RECORD, REPORT
from transfer.settings import TrainingSettings

LONGEST_NAME = 60  # characters


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A finished run. `id` is the name of its folder; `name` and `source` are shown to people.

    `job_id` is empty for a run of the command line. `accuracy` is on the test images. `created` is
    the time when the run was finished, in seconds since 1970. `seconds_left` is the time until it
    is removed, None where it stays.
    """

    id: str
    name: str
    job_id: str
    source: str
    accuracy: float
    created: float
    seconds_left: float | None
    path: Path


class FinishedRuns:
    """All runs in a folder, trained by a job or on the command line. `owner` is hashed."""

    def __init__(self, store: JobStore, limits: JobLimits):
        self.store = store
        self.limits = limits

    def of(self, owner: str) -> list[ListedRun]:
        """Newest first: with `own_runs_only` the owner's runs, else every run."""
        jobs = {job.out.name: job for job in self.store.all()}
        if self.limits.own_runs_only:
            done = [job for job in jobs.values() if job.state == "done" and job.owner == owner]
            paths = [job.out for job in done if owner]
        else:
            paths = [path.parent for path in self.store.runs.glob("[!.]*/" + RECORD)]
        listed = [_listed(path, jobs.get(path.name), self.limits) for path in paths]
        return sorted(filter(None, listed), key=lambda run: run.created, reverse=True)

    def rename(self, run_id: str, owner: str, name: str) -> str:
        """Change the shown name, not the folder; returns the name. Raises JobError."""
        name = _checked_name(name)
        with self.store.changed:
            job, path = self._find(run_id, owner)
            if job is None:
                self.store.add(_job_of_run(path, name))
            else:
                self.store.change(job, name=name)
        return name

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run or an ended training with all that belongs to it. Raises JobError."""
        with self.store.changed:
            job, path = self._find(run_id, owner)
            if job is not None and job.live:
                raise JobError("this training is still running; stop it first")
            try:
                self.store.remove_folder(path)
                if job is not None:
                    self.store.forget(job)
            except OSError as error:
                raise JobError(f"the run cannot be removed ({error.strerror})") from None

    def _find(self, run_id: str, owner: str) -> tuple[Job | None, Path]:
        """(its job, its folder) of a run or job that this owner may change. Raises JobError."""
        for job in self.store.all():
            if owner and job.owner == owner and run_id in (job.id, job.out.name):
                return job, job.out
        for run in self.of(owner):
            if run_id and run_id in (run.id, run.job_id):
                return self.store.get(run.job_id), run.path
        raise JobError("you have no run of that name; choose one from the list")


def _listed(path: Path, job: Job | None, limits: JobLimits) -> ListedRun | None:
    """None where the run cannot be read."""
    try:
        finished = (path / RECORD).stat().st_mtime
        source, accuracy = _summary(path, finished)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    name, job_id, expires = path.name, "", False
    if job is not None:
        name, job_id, expires = job.name or name, job.id, bool(job.owner)
        source, finished = job.source, job.ended or finished
    return ListedRun(
        id=path.name,
        name=name,
        job_id=job_id,
        source=shown_source(source),
        accuracy=accuracy,
        created=finished,
        seconds_left=limits.seconds_left(finished) if expires else None,
        path=path,
    )


@lru_cache(maxsize=4096)
def _summary(path: Path, _changed: float) -> tuple[str, float]:
    """(source, accuracy on the test images) of a run, read again only when its file changes."""
    record, report = (
        json.loads((path / name).read_text(encoding="utf-8")) for name in (RECORD, REPORT)
    )
    return str(record["source"]), float(report["accuracy"])


def _job_of_run(path: Path, name: str) -> Job:
    """A job that holds the name of a run of the command line; it has no owner and stays."""
    finished = (path / RECORD).stat().st_mtime
    source, _ = _summary(path, finished)
    job = Job(
        id=new_id(), owner="", source=source, out=path, settings=TrainingSettings(), name=name
    )
    job.state, job.created, job.ended = "done", finished, finished
    return job


def _checked_name(name: str) -> str:
    name = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise JobError(
            f"a name must have 1 to {LONGEST_NAME} printable characters, found {len(name)}; "
            "choose another"
        )
    return name
