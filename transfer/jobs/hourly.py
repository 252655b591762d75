"""How many trainings each visitor has started lately, and whether another may begin."""

import time
from collections import deque
from collections.abc import Iterable

from transfer.errors import JobError
from transfer.jobs.job import Job
from transfer.jobs.limits import roughly

AN_HOUR = 3_600


class Hourly:
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
