"""What a server lends its visitors: how long, how much, how often."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from transfer.errors import JobError, SettingsError
from transfer.jobs.job import Job

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
RANGES = {
    "queued": (1, 1_000, (int,)),
    "job_seconds": (1, 7 * 86_400, (int, float)),
    "run_seconds": (1, 3_650 * 86_400, (int, float)),
    "upload_bytes": (1, 10**15, (int,)),
    "disk_bytes": (1, 10**15, (int,)),
    "jobs_an_hour": (1, 10_000, (int,)),
}


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """None means without a limit.

    `queued` trainings wait at most. A training takes `job_seconds`, then it is stopped and keeps
    what it learned. Runs live `run_seconds` from their end on, a visitor's own images as long
    after the last that was heard of him. `upload_bytes` are a visitor's, `disk_bytes` all
    visitors' runs and images. `jobs_an_hour` are a visitor's. With `own_runs_only`, visitors are
    strangers to each other, and whoever starts a training says who he is.
    """

    queued: int = 8
    job_seconds: float | None = None
    run_seconds: float | None = None
    upload_bytes: int | None = None
    disk_bytes: int | None = None
    jobs_an_hour: int | None = None
    own_runs_only: bool = False

    def __post_init__(self):
        for name, (low, high, kinds) in RANGES.items():
            value = getattr(self, name)
            if value is not None or name == "queued":
                _check(name, value, low, high, kinds)
        if not isinstance(self.own_runs_only, bool):
            raise SettingsError(f"own_runs_only must be true or false, found {self.own_runs_only}")

    @classmethod
    def local(cls) -> "JobLimits":
        """One's own machine: nothing goes by itself."""
        return cls()

    @classmethod
    def shared(cls) -> "JobLimits":
        """A server for strangers."""
        return cls(
            job_seconds=30 * 60,
            run_seconds=24 * 3_600,
            upload_bytes=200_000_000,
            disk_bytes=10_000_000_000,
            jobs_an_hour=20,
            own_runs_only=True,
        )

    def seconds_left(self, ended: float, lives: int = 1) -> float | None:
        """Until what ended then, in seconds since 1970, has lived that often; None: for ever."""
        return None if self.run_seconds is None else ended + lives * self.run_seconds - time.time()

    def described(self) -> list[str]:
        """A sentence for each limit that a visitor may meet."""
        lines = []
        if self.job_seconds:
            lines.append(
                f"A training takes at most {spoken(self.job_seconds)}; then it is stopped and "
                "keeps what it learned."
            )
        if self.run_seconds:
            lines.append(
                f"Runs are removed {spoken(self.run_seconds)} after their end, your own images "
                f"{spoken(self.run_seconds)} after your last visit."
            )
        if self.upload_bytes:
            lines.append(f"Your own images may take up to {megabytes(self.upload_bytes)}.")
        if self.jobs_an_hour:
            lines.append(f"You may start {self.jobs_an_hour} trainings an hour, one at a time.")
        if self.own_runs_only:
            lines.append("Only you can see your runs and images.")
        return lines


def spoken(seconds: float) -> str:
    """A time in the largest unit in which it is a whole number, to the second: `90 minutes`."""
    whole = max(1, round(seconds))
    size, unit = next((s, u) for s, u in UNITS if whole % s == 0)
    if size == 86_400 and whole == size:
        size, unit = 3_600, "hour"
    return f"{whole // size} {unit}{'' if whole == size else 's'}"


def roughly(seconds: float) -> str:
    """A time to wait, in minutes or hours, rounded up."""
    minutes = max(1, -int(-seconds // 60))
    if minutes <= 90:
        return spoken(60 * minutes) if minutes % 60 else spoken(3_600 * (minutes // 60))
    return spoken(3_600 * -(-minutes // 60))


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}".removesuffix(".0") + " MB"


def _check(name: str, value, low: float, high: float, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        kind = "a number" if float in kinds else "a whole number"
        raise SettingsError(f"{name} must be {kind} from {low} to {high}, found {value!r}")


AN_HOUR = 3_600


class RateLimit:
    """`most` an hour for one owner, None for any number; those of `jobs` count too."""

    def __init__(self, most: int | None, jobs: Iterable[Job]):
        self._most = most
        self._starts = deque((job.created, job.owner) for job in jobs)

    def count(self, owner: str) -> None:
        """A training of this owner has been started just now."""
        self._starts.append((time.time(), owner))

    def check(self, owner: str) -> None:
        """Raises JobError where this owner, if it is one, has started as many as there may be."""
        now, most = time.time(), self._most
        while self._starts and self._starts[0][0] < now - AN_HOUR:
            self._starts.popleft()
        own = [started for started, by in self._starts if owner and by == owner]
        if most is not None and len(own) >= most:
            raise JobError(
                f"{most} trainings an hour are the most for one visitor; come again in "
                f"{roughly(own[-most] + AN_HOUR - now)}"
            )
