"""What a server allows its visitors: how long, how much, how often."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from transfer.errors import JobError
from transfer.jobs.job import Job
from transfer.machine.environment import positive_number

HOUR = 3_600  # seconds
# environment variable → (field, how much of the field one of its units is)
VARIABLES = {
    "TRANSFER_QUEUE": ("queued", 1),
    "TRANSFER_TRAINING_MINUTES": ("job_seconds", 60),
    "TRANSFER_RUN_HOURS": ("run_seconds", HOUR),
    "TRANSFER_UPLOAD_MB": ("upload_bytes", 10**6),
    "TRANSFER_DISK_GB": ("disk_bytes", 10**9),
    "TRANSFER_TRAININGS_PER_HOUR": ("jobs_per_hour", 1),
}


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """None means no limit; the defaults are for one's own machine."""

    queued: int = 8  # trainings that wait
    job_seconds: float | None = None  # then a training is stopped and saves what it learned
    run_seconds: float | None = None  # from the end of a run, and from a visit for own images
    upload_bytes: int | None = None  # of each visitor
    disk_bytes: int | None = None  # of all visitors' runs and images
    jobs_per_hour: int | None = None  # of each visitor
    own_runs_only: bool = False  # visitors do not see each other's runs; a training needs an owner

    @classmethod
    def shared(cls) -> "JobLimits":
        """The limits of a server whose visitors are strangers to each other."""
        return cls(
            job_seconds=HOUR / 2,
            run_seconds=24 * HOUR,
            upload_bytes=200_000_000,
            disk_bytes=10_000_000_000,
            jobs_per_hour=20,
            own_runs_only=True,
        )

    def with_environment(self) -> "JobLimits":
        """With the numbers that a host has set in VARIABLES. Raises SettingsError."""
        numbers = ((*place, positive_number(name)) for name, place in VARIABLES.items())
        return replace(
            self, **{field: math.ceil(number * unit) for field, unit, number in numbers if number}
        )

    def seconds_left(self, since: float, lifetimes: int = 1) -> float | None:
        """Until `lifetimes` times `run_seconds` have passed since then; None: there is no end."""
        if self.run_seconds is None:
            return None
        return since + lifetimes * self.run_seconds - time.time()

    def described(self) -> list[str]:
        """A sentence for each limit that a visitor may meet."""
        lines = []
        if self.job_seconds:
            most = in_words(self.job_seconds)
            lines.append(f"A training is stopped after {most}; what it learned is saved.")
        if self.run_seconds:
            most = in_words(self.run_seconds)
            lines.append(f"Runs are removed after {most}, own images {most} after your last visit.")
        if self.upload_bytes:
            lines.append(f"Your own images may take up to {megabytes(self.upload_bytes)}.")
        if self.jobs_per_hour:
            lines.append(f"You may start {self.jobs_per_hour} trainings per hour, one at a time.")
        if self.own_runs_only:
            lines.append("Only you can see your runs and images.")
        return lines


class RateLimit:
    """Counts each owner's trainings within an hour, deleted ones too."""

    def __init__(self, per_hour: int | None, jobs: Iterable[Job]):
        self._per_hour = per_hour
        self._starts = [(job.created, job.owner) for job in jobs]

    def count(self, owner: str) -> None:
        """Raises JobError when this owner has to wait."""
        now, most = time.time(), self._per_hour
        self._starts = [(at, by) for at, by in self._starts if at > now - HOUR]
        own = [at for at, by in self._starts if by == owner]
        if owner and most is not None and len(own) >= most:
            raise JobError(
                f"you have started {most} trainings within an hour, which is the limit; try again "
                f"in {in_words(own[-most] + HOUR - now)}"
            )
        self._starts.append((now, owner))


def in_words(seconds: float) -> str:
    """A time in minutes, or in hours from two on, rounded up."""
    size, unit = (HOUR, "hour") if seconds > 1.5 * HOUR else (60, "minute")
    number = max(1, math.ceil(seconds / size))
    return f"{number} {unit}{'s' if number > 1 else ''}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}".removesuffix(".0") + " MB"
