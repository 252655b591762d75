"""What visitors leave on a server: how much of it there is, and when it goes."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from transfer.errors import JobError
from transfer.jobs.job import Job
from transfer.jobs.limits import JobLimits, megabytes, roughly, spoken
from transfer.jobs.store import NAMED, JobStore

OWN = ".own"
SECONDS_BETWEEN_LOOKS = (1.0, 600.0)
LOG = logging.getLogger(__name__)


class Expiry:
    """Removes runs, records and visitors' own data in time, in a thread of its own.

    A run that goes leaves an `expired` job for as long again, so that whoever comes back is told
    and can start it again. `owner` is hashed throughout; what is nobody's stays.
    """

    def __init__(self, book: JobStore, runs: Path, limits: JobLimits):
        self.book = book
        self.own = runs / OWN
        self.limits = limits
        self._closed = threading.Event()
        if limits.run_seconds is not None:
            threading.Thread(target=self._run, daemon=True, name="expiry").start()

    def check_upload(self, owner: str, size: int) -> None:
        """Raises JobError when a visitor's own data would grow too large by `size` bytes."""
        most = self.limits.upload_bytes
        total = size + (bytes_below(self.own / owner) if owner else 0)
        if most is not None and total > most:
            raise JobError(
                f"expected at most {megabytes(most)} of your own images, found "
                f"{megabytes(total)} with these; remove a class or an upload first, or send fewer"
            )
        self.check_room()

    def check_room(self) -> None:
        """Raises JobError while visitors have too much here, and says when that will change."""
        if self.limits.disk_bytes is None:
            return
        self.remove_expired()
        jobs = [job for job in self.book.all() if job.owner and job.out.exists()]
        used = bytes_below(self.own) + sum(bytes_below(job.out) for job in jobs)
        if used < self.limits.disk_bytes:
            return
        left = [self._seconds_left(job) for job in jobs if not job.live]
        when = f"in {roughly(min(left))}" if left else "later"
        raise JobError(
            f"the {megabytes(self.limits.disk_bytes)} for visitors' runs and images are full; "
            f"delete some of yours, or come again {when}"
        )

    def record_visit(self, owner: str) -> None:
        """A visitor is there, so what is his stays."""
        if owner and (self.own / owner).is_dir():
            os.utime(self.own / owner)

    def remove_expired(self) -> float | None:
        """Remove what has been here long enough; the seconds until more is due, if ever."""
        if self.limits.run_seconds is None:
            return None
        due = [self.limits.run_seconds]
        for job in self.book.all():
            if job.owner and not job.live:
                due.append(self._go_on_with(job))
        for folder in self.own.glob("*"):
            if NAMED.fullmatch(folder.name) and folder.is_dir():
                due.append(self._go_on_with_own(folder))
        return min(due)

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        shortest, longest = SECONDS_BETWEEN_LOOKS
        wait = 0.0
        while not self._closed.wait(wait):
            try:
                wait = min(max(self.remove_expired(), shortest), longest)
            except OSError as error:
                LOG.warning("what has expired was not removed (%s)", error.strerror)
                wait = longest

    def _go_on_with(self, job: Job) -> float:
        """Let an ended job expire or go, if it is time; the seconds until its next step."""
        with self.book.changed:
            left = self._seconds_left(job)
            if left > 0:
                return left
            if job.state == "expired":
                self.book.forget(job)
                return self.limits.run_seconds
            self.book.records.remove_folder(job.out)
            self.book.records.remove_history(job.id)
            kept = spoken(self.limits.run_seconds)
            self.book.change(
                job,
                state="expired",
                error=f"what is trained here is kept for {kept}; start it again",
                note="",
                history=[],
            )
            return max(self._seconds_left(job), 0.0)

    def _seconds_left(self, job: Job) -> float:
        lives = 2 if job.state == "expired" else 1
        return self.limits.seconds_left(job.ended or job.created, lives)

    def _go_on_with_own(self, folder: Path) -> float:
        """Remove a visitor's own data, if it is time; the seconds until then."""
        with self.book.changed:
            jobs = [job for job in self.book.all() if job.owner == folder.name]
            seen = [job.ended or time.time() for job in jobs if job.live or job.ended]
            left = self.limits.seconds_left(max(*seen, *_touched(folder), 0.0))
            if left > 0:
                return left
            self.book.records.remove_folder(folder)
            return self.limits.run_seconds


def bytes_below(folder: Path) -> int:
    """Of all files in a folder; what goes meanwhile does not count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(where, name).lstat().st_size
    return total


def _touched(folder: Path) -> Iterator[float]:
    """When a folder and those in it were last changed, in seconds since 1970."""
    for where, _, _ in os.walk(folder):
        yield Path(where).stat().st_mtime
