"""The finished runs: listed, renamed and deleted."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.job import Job, new_id, shown_source
from transfer.jobs.limits import JobLimits
from transfer.jobs.store import JobStore
from transfer.runs.run import RECORD, REPORT

LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A finished run: `id` is its folder's name, `name` and `source` are what people read.

    `job_id` is empty for a run of the command line. `accuracy` is on the test images. `created` is
    when it was finished, in seconds since 1970; `seconds_left` until it is removed, None where it
    stays.
    """

    id: str
    name: str
    job_id: str
    source: str
    state: str
    accuracy: float
    created: float
    seconds_left: float | None
    path: Path


class FinishedRuns:
    """What lies in a folder of runs, with and without a job. `owner` is hashed throughout."""

    def __init__(self, book: JobStore, runs: Path, limits: JobLimits):
        self.book = book
        self.runs = runs
        self.limits = limits

    def of(self, owner: str) -> list[ListedRun]:
        """Newest first: one's own, and where visitors are no strangers all that are there."""
        jobs = {job.out.name: job for job in self.book.all()}
        if self.limits.own_runs_only:
            done = [job for job in jobs.values() if job.state == "done" and job.owner == owner]
            paths = [job.out for job in done if owner]
        else:
            paths = [path.parent for path in self.runs.glob("[!.]*/" + RECORD)]
        found = [_listed(path, jobs.get(path.name), self.limits) for path in paths]
        return sorted(filter(None, found), key=lambda run: run.created, reverse=True)

    def rename(self, run_id: str, owner: str, name: str) -> str:
        """Change what a run is called, not where it is; returns the name. Raises JobError."""
        name = _checked(name)
        with self.book.changed:
            job, path = self._find(run_id, owner)
            if job is None:
                self.book.add(_adopted(path, name))
            else:
                self.book.change(job, name=name)
        return name

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run or an ended training with all that belongs to it. Raises JobError."""
        with self.book.changed:
            job, path = self._find(run_id, owner)
            if job is not None and job.live:
                raise JobError("this training is still going on; stop it first")
            try:
                self.book.records.remove_folder(path)
                if job is not None:
                    self.book.forget(job)
            except OSError as error:
                raise JobError(f"the run cannot be removed ({error.strerror})") from None

    def _find(self, run_id: str, owner: str) -> tuple[Job | None, Path]:
        """(its job, its folder) of a run or job that this owner may change. Raises JobError."""
        for job in self.book.all():
            if owner and job.owner == owner and run_id in (job.id, job.out.name):
                return job, job.out
        for run in self.of(owner):
            if run_id and run_id in (run.id, run.job_id):
                return self.book.by_id(run.job_id), run.path
        raise JobError("expected a run of yours, found none of that name; look at the list again")


def _listed(path: Path, job: Job | None, limits: JobLimits) -> ListedRun | None:
    """None for what is no run that can be read."""
    try:
        finished = (path / RECORD).stat().st_mtime
        source, accuracy = _summary(path, finished)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    finished = job.ended if job is not None and job.ended else finished
    return ListedRun(
        id=path.name,
        name=job.name if job is not None and job.name else path.name,
        job_id=job.id if job is not None else "",
        source=shown_source(job.source if job is not None else source),
        state="done",
        accuracy=accuracy,
        created=finished,
        seconds_left=limits.seconds_left(finished) if job is not None and job.owner else None,
        path=path,
    )


@lru_cache(maxsize=4096)
def _summary(path: Path, _changed: float) -> tuple[str, float]:
    """(source, accuracy on the test images) as they stand in a run, read once a change."""
    record, report = (
        json.loads((path / name).read_text(encoding="utf-8")) for name in (RECORD, REPORT)
    )
    return str(record["source"]), float(report["accuracy"])


def _adopted(path: Path, name: str) -> Job:
    """What is written down of a run of the command line: nobody's, and here to stay."""
    finished = (path / RECORD).stat().st_mtime
    source, _ = _summary(path, finished)
    return Job(
        id=new_id(),
        owner="",
        source=source,
        out=path,
        options={},
        name=name,
        state="done",
        created=finished,
        ended=finished,
    )


def _checked(name: str) -> str:
    name = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise JobError(
            f"expected a name of 1 to {LONGEST_NAME} characters that can be seen, found "
            f"{len(name)} characters; choose another"
        )
    return name
