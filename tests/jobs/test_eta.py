import time
from pathlib import Path

import pytest

from tests.jobs.fake import CACHED, SETTINGS, epoch, phase_done
from transfer.events import BatchDone, CacheProgress, Estimated
from transfer.jobs import Job
from transfer.jobs.eta import seconds_left, typical_seconds

ESTIMATED = Estimated(seconds={"cache": 30.0, "warm-up": 20.0, "fine-tune": 100.0}, cached="")
OPENED = (ESTIMATED, CACHED)
WARMED_UP = (*OPENED, phase_done("warm-up"))
CACHING = CacheProgress(stage="x", done=25, total=100, seconds=10.0)
BATCH = BatchDone(phase="warm-up", epoch=1, done=1, total=2, seconds_left=7.0)


def job(state: str, *history, passed: float = 10.0, source="digits", **more) -> Job:
    """A job that has run for `passed` seconds, the last five of them in this state."""
    times = {"started": time.time() - passed, "since": time.time() - 5}
    known = {"id": "1", "owner": "", "out": Path("x"), "settings": SETTINGS}
    return Job(source=source, state=state, history=list(history), **known, **times, **more)


def left(job: Job, typical: float | None = None, most: float | None = None):
    return pytest.approx(seconds_left(job, typical, most), abs=0.5)


def test_before_an_estimate_it_is_the_typical_time():
    assert left(job("loading"), typical=70.0) == 60.0
    assert seconds_left(job("loading"), None, None) is None
    assert seconds_left(job("loading", passed=100.0), 70.0, None) is None


@pytest.mark.parametrize(
    ("state", "history", "progress", "expected"),
    [
        ("loading", [ESTIMATED], None, 25 + 20 + 100),
        ("caching", [ESTIMATED], CACHING, 30 + 20 + 100),
        ("heads", OPENED, None, 20 + 100),
        ("warm-up", OPENED, BATCH, 7 + 100),
        ("evaluating", WARMED_UP, None, 100),
        ("fine-tune", WARMED_UP, None, 95),
        ("fine-tune", [*WARMED_UP, epoch(1, "fine-tune", left=40.0)], None, 40),
        ("evaluating", [*WARMED_UP, phase_done("fine-tune")], None, 0),
        ("heads", [*OPENED, Estimated(seconds={"warm-up": 2.0}, cached="")], None, 2 + 100),
    ],
)
def test_the_rest_of_the_current_phase_and_all_later_ones(state, history, progress, expected):
    assert left(job(state, *history, progress=progress)) == expected


def test_a_training_takes_no_longer_than_its_time_limit():
    assert left(job("caching", ESTIMATED, passed=50.0), most=60.0) == 10
    assert left(job("caching", ESTIMATED, passed=70.0), most=60.0) == 0


def test_typical_is_the_median_of_finished_trainings_of_the_same_source_first():
    times = [("digits", 10), ("digits", 20), ("digits", 90), ("beans", 300)]
    jobs = [job("done", passed=taken, source=name, ended=time.time()) for name, taken in times]
    jobs += [job("failed", passed=1, ended=time.time()), job("warm-up")]
    assert typical_seconds(jobs, "digits") == pytest.approx(20, abs=0.5)
    assert typical_seconds(jobs, "beans") == pytest.approx(300, abs=0.5)
    assert typical_seconds(jobs, "new") == pytest.approx(55, abs=0.5)
    assert typical_seconds([], "new") is None
