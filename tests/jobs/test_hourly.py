import time
from pathlib import Path

import pytest

from transfer.errors import JobError
from transfer.jobs import Job
from transfer.jobs.limits import AN_HOUR, RateLimit


def job(owner: str, ago: float) -> Job:
    created = time.time() - ago
    return Job(
        id="1", owner=owner, source="digits", out=Path("runs/x"), options={}, created=created
    )


def test_each_owner_has_so_many_an_hour_and_those_of_before_count():
    hourly = RateLimit(2, [job("ann", AN_HOUR + 1), job("ann", 1_800)])
    hourly.check("ann")
    hourly.count("ann")
    with pytest.raises(JobError, match=r"2 trainings an hour .* come again in 30 minutes"):
        hourly.check("ann")
    hourly.check("bob")


def test_nobody_and_who_has_no_limit_may_start_any_number():
    for hourly, owner in ((RateLimit(1, []), ""), (RateLimit(None, []), "ann")):
        for _ in range(3):
            hourly.count(owner)
            hourly.check(owner)
