"""The removal of visitors' runs and images after their time, and the space that they may take."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.job import Job, hashed
from transfer.jobs.limits import HOUR, JobLimits, in_words, megabytes
from transfer.jobs.store import ID, JobStore, logged


class Expiry:
    """Removes visitors' runs and images that have expired, in a thread of its own.

    The job of a removed run stays as `expired` for the same time again, so that its owner sees why.
    """

    def __init__(self, store: JobStore, limits: JobLimits):
        self.store, self.limits = store, limits
        self.own_images = store.runs / ".own"
        self.closed = threading.Event()
        if limits.run_seconds is not None:
            threading.Thread(target=self._run, daemon=True, name="expiry").start()

    def check_upload(self, owner: str, size: int) -> None:
        """Raises JobError when a visitor has no room for `size` more bytes of images."""
        most = self.limits.upload_bytes
        total = size + (_bytes_below(self.own_images / hashed(owner)) if owner else 0)
        if most is not None and total > most:
            raise JobError(
                f"your own images may take at most {megabytes(most)}; with these they would take "
                f"{megabytes(total)}; remove a class or an upload first, or send fewer"
            )
        self.check_disk()

    def check_disk(self) -> None:
        """Raises JobError while visitors' runs and images fill the space that they may take."""
        if self.limits.disk_bytes is None:
            return
        self.remove_expired()
        jobs = [job for job in self.store.all() if job.owner and job.out.exists()]
        used = sum(_bytes_below(path) for path in (self.own_images, *(job.out for job in jobs)))
        if used >= self.limits.disk_bytes:
            left = [self._seconds_left(job) for job in jobs if not job.live]
            known = [seconds for seconds in left if seconds is not None]
            when = f"in {in_words(min(known))}" if known else "later"
            raise JobError(
                f"the {megabytes(self.limits.disk_bytes)} for visitors' runs and images are full; "
                f"delete some of yours, or try again {when}"
            )

    def record_visit(self, owner: str) -> None:
        """A visit keeps the visitor's own images from expiring."""
        own = self.own_images / hashed(owner)
        if owner and own.is_dir():
            with suppress(OSError):
                os.utime(own)

    def remove_expired(self) -> None:
        if self.limits.run_seconds is None:
            return
        with logged("expired runs or images were not removed"), self.store.changed:
            jobs = [job for job in self.store.all() if job.owner]
            for job in jobs:
                if not job.live and self._seconds_left(job) <= 0:
                    self._expire(job)
            folders = [path for path in self.own_images.glob("*") if ID.fullmatch(path.name)]
            for folder in folders:
                used = _last_used(folder, [job for job in jobs if job.owner == folder.name])
                if self.limits.seconds_left(used) <= 0:
                    self.store.remove_folder(folder)

    def _run(self) -> None:
        while not self.closed.is_set():
            self.remove_expired()
            self.closed.wait(HOUR / 12)

    def _seconds_left(self, job: Job) -> float:
        lifetimes = 2 if job.state == "expired" else 1
        return self.limits.seconds_left(job.ended or job.created, lifetimes)

    def _expire(self, job: Job) -> None:
        if job.state == "expired":
            self.store.forget(job)
            return
        self.store.remove_run(job)
        why = f"runs are removed after {in_words(self.limits.run_seconds)}; start it again"
        self.store.change(job, state="expired", error=why, note="", history=[])


def _bytes_below(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it was removed meanwhile
                total += Path(where, name).lstat().st_size
    return total


def _last_used(folder: Path, jobs: list[Job]) -> float:
    """When a visitor last changed the images in `folder`, came back or trained."""
    changed = [Path(where).stat().st_mtime for where, _, _ in os.walk(folder)]
    trained = [time.time() if job.live else job.ended or 0.0 for job in jobs]
    return max([0.0, *changed, *trained])
