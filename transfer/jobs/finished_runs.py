"""The finished runs of a folder: listed, renamed, deleted and brought back."""

import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from transfer.errors import JobError, TransferError
from transfer.formatting import encodable, time_text
from transfer.jobs.job import Job, hashed, new_id, shown_source
from transfer.jobs.limits import JobLimits
from transfer.jobs.store import JobStore, logged
from transfer.runs.run import RECORD, REPORT, Run, read_run, stopped_in
from transfer.settings import TrainingSettings

LONGEST_NAME = 60  # characters
SECONDS_TO_UNDO = 300.0
# the settings that a run and its correction have in common
SAME = ("method", "weights", "image_size", "unfreeze", "effort", "seed")


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A finished run as it is shown to people."""

    id: str  # the name of its folder, `encodable`
    title: str  # given by a person; empty for a job's run that nobody has renamed
    job_id: str  # empty for a run of the command line
    source: str  # what its images are called
    effort: str
    accuracy: float  # on the test images
    images: int  # of the test
    stopped: str  # the phase that was stopped, if any
    created: float  # when it was finished, in seconds since 1970
    until: float | None  # when it will be removed; None where it stays
    path: Path

    @property
    def facts(self) -> str:
        """What it learned from, and how."""
        return ", ".join(filter(None, (self.source, self.effort)))

    @property
    def name(self) -> str:
        return self.title or f"{self.facts}, {time_text(self.created)}"


@dataclass(frozen=True, kw_only=True)
class DeletedRun:
    """A run that its owner may bring back: `folder` is where it waits, `timer` ends that."""

    run: ListedRun
    job: Job | None
    folder: Path
    timer: threading.Timer
    until: float = field(default_factory=lambda: time.time() + SECONDS_TO_UNDO)


class FinishedRuns:
    """All runs in a folder, trained by a job or on the command line."""

    def __init__(self, store: JobStore, limits: JobLimits):
        self.store, self.limits = store, limits
        self._deleted: dict[str, DeletedRun] = {}  # the last one of each owner

    def of(self, owner: str) -> list[ListedRun]:
        """Newest first: with `own_runs_only` the owner's runs, else every run."""
        jobs = {job.out.name: job for job in self.store.all()}
        if self.limits.own_runs_only:
            key = hashed(owner)
            own = [job for job in jobs.values() if key and job.owner == key]
            paths = [job.out for job in own if job.state == "done"]
        else:
            paths = [path.parent for path in self.store.runs.glob("[!.]*/" + RECORD)]
        listed = filter(None, (_listed(path, jobs.get(path.name), self.limits) for path in paths))
        there = [run for run in listed if run.until is None or run.until > time.time()]
        return sorted(there, key=lambda run: run.created, reverse=True)

    def get(self, run_id: str | None, owner: str) -> ListedRun:
        """The id is looked up and never used as a path. Raises JobError."""
        for run in self.of(owner):
            if run.id == run_id:
                return run
        raise JobError("you have no such finished run; choose one from the list")

    def before(self, run: Run, owner: str) -> tuple[ListedRun, Run] | None:
        """The owner's run that lacks only corrections of `run`; None where there is none left.

        Of several, the one with most of the corrections, then the newest one.
        """
        found = []
        for listed in self.of(owner) if run.settings.corrections else []:
            with suppress(TransferError):
                earlier = read_run(listed.path)
                if _is_corrected_by(earlier, run):
                    found.append((listed, earlier))
        return max(found, key=lambda pair: len(pair[1].settings.corrections), default=None)

    def rename(self, run_id: str, owner: str, title: str) -> None:
        """Change the shown name, not the folder. Raises JobError."""
        title = title.strip() if isinstance(title, str) else ""
        if not 1 <= len(title) <= LONGEST_NAME or not title.isprintable():
            raise JobError(f"a name must have 1 to {LONGEST_NAME} printable characters")
        with self.store.changed:
            run = self.get(run_id, owner)
            if job := self.store.get(run.job_id):
                self.store.change(job, title=title)
            else:
                self.store.add(_job_of_run(run, title))

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run and the record of its training; `undo` brings both back for a while.

        Until then the folder waits where nothing lists it, and the record stays as it is: wherever
        the app is killed, the next start finds both or removes both. Raises JobError.
        """
        with self.store.changed:
            run = self.get(run_id, owner)
            job = self.store.get(run.job_id)
            if job and job.live:
                raise JobError("this training is still running; stop it first")
            self._remove(hashed(owner))
            try:
                folder = self.store.set_aside(run.path)
            except OSError as error:
                raise JobError(f"the run cannot be removed ({error.strerror})") from None
            if job:
                self.store.hide(job)
            timer = threading.Timer(SECONDS_TO_UNDO, self._remove, [hashed(owner), folder])
            timer.daemon = True
            timer.start()
            deleted = DeletedRun(run=run, job=job, folder=folder, timer=timer)
            self._deleted[hashed(owner)] = deleted

    def deleted(self, owner: str) -> DeletedRun | None:
        """The run that `undo` would bring back."""
        return self._deleted.get(hashed(owner))

    def undo(self, run_id: str, owner: str) -> None:
        """Bring back the run that the owner deleted last. Raises JobError."""
        with self.store.changed:
            deleted = self.deleted(owner)
            if deleted is None or deleted.run.id != run_id:
                raise JobError("this run has been removed for good; train it again")
            try:
                deleted.folder.rename(deleted.run.path)
            except OSError as error:
                raise JobError(f"the run cannot be brought back ({error.strerror})") from None
            if deleted.job:
                self.store.unhide(deleted.job)
            self._deleted.pop(hashed(owner)).timer.cancel()

    def close(self) -> None:
        """Remove for good what was deleted."""
        for owner in [*self._deleted]:
            self._remove(owner)

    def _remove(self, owner: str, folder: Path | None = None) -> None:
        """Of what this owner, a hash, has deleted; with a folder only if that is still it."""
        with self.store.changed, logged("a deleted run was not removed"):
            deleted = self._deleted.get(owner)
            if deleted and folder in (None, deleted.folder):
                del self._deleted[owner]
                deleted.timer.cancel()
                shutil.rmtree(deleted.folder, ignore_errors=True)
                if deleted.job:
                    self.store.forget(deleted.job)


def _is_corrected_by(earlier: Run, run: Run) -> bool:
    tested = earlier.record.get("tested_on")
    theirs, ours = ({one.where for one in each.settings.corrections} for each in (earlier, run))
    return (
        tested is not None
        and tested == run.record.get("tested_on")
        and all(getattr(earlier.settings, name) == getattr(run.settings, name) for name in SAME)
        and theirs < ours
    )


def _listed(path: Path, job: Job | None, limits: JobLimits) -> ListedRun | None:
    """None where the run cannot be read."""
    try:
        finished = (path / RECORD).stat().st_mtime
        known = _summary(path, finished)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if job is not None:
        known, finished = known | {"source": job.name}, job.ended or finished
    expires = job and job.owner and limits.run_seconds is not None
    return ListedRun(
        id=encodable(path.name),
        title=job.title if job else encodable(path.name),
        job_id=job.id if job else "",
        created=finished,
        until=finished + limits.run_seconds if expires else None,
        path=path,
        **known,
    )


@lru_cache(maxsize=4096)
def _summary(path: Path, _changed: float) -> dict:
    """What a run's files say, read again only when they change."""
    record, report = (json.loads((path / name).read_bytes()) for name in (RECORD, REPORT))
    settings = record.get("settings", {})
    features = settings.get("method") == "features"
    return {
        "source": shown_source(record["source"]),
        "effort": "features only" if features else str(settings.get("effort", "")),
        "accuracy": float(report["accuracy"]),
        "images": int(report["images"]),
        "stopped": stopped_in(record.get("phases", [])),
    }


def _job_of_run(run: ListedRun, title: str) -> Job:
    """A job that holds the name of a run of the command line; it has no owner and stays."""
    known = {"id": new_id(), "owner": "", "source": run.source, "out": run.path}
    names = {"name": run.source, "title": title}
    times = {"created": run.created, "ended": run.created}
    return Job(settings=TrainingSettings(), state="done", **known, **names, **times)
