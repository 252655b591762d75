import time
from pathlib import Path

import pytest

from transfer.events import BatchDone, CacheFilled, CacheProgress, EpochDone, Estimated, PhaseDone
from transfer.jobs import Job
from transfer.jobs.eta import seconds_left, typical_seconds

ESTIMATED = Estimated(seconds={"cache": 30.0, "warm-up": 20.0, "fine-tune": 100.0}, cached="")
FILLED = CacheFilled(images={}, skipped=[], computed=1, megabytes=1.0, seconds=30.0)


def job(state: str, *history, progress=None, passed: float = 10.0, source="digits", **more) -> Job:
    now = time.time()
    return Job(
        id="1",
        owner="",
        source=source,
        out=Path("x"),
        options={},
        state=state,
        history=list(history),
        progress=progress,
        started=now - passed,
        since=now - 5,
        **more,
    )


def done(phase: str) -> PhaseDone:
    return PhaseDone(phase=phase, epochs=1, best_epoch=1, accuracy=0.5, seconds=1.0, ended="")


def left(job: Job, typical: float | None = None, most: float | None = None):
    return pytest.approx(seconds_left(job, typical, most), abs=0.5)


def test_before_an_estimate_it_is_what_is_typical_here():
    assert left(job("loading"), typical=70.0) == 60.0
    assert seconds_left(job("loading"), None, None) is None
    assert seconds_left(job("loading", passed=100.0), 70.0, None) is None


def test_an_estimate_is_gone_through_phase_by_phase():
    progress = CacheProgress(stage="x", done=25, total=100, seconds=10.0)
    assert left(job("loading", ESTIMATED)) == 25 + 20 + 100
    assert left(job("caching", ESTIMATED, progress=progress)) == 30 + 20 + 100
    assert left(job("heads", ESTIMATED, FILLED)) == 20 + 100
    batch = BatchDone(phase="warm-up", epoch=1, done=1, total=2, seconds_left=7.0)
    assert left(job("warm-up", ESTIMATED, FILLED, progress=batch)) == 7 + 100
    assert left(job("evaluating", ESTIMATED, FILLED, done("warm-up"))) == 100
    assert left(job("fine-tune", ESTIMATED, FILLED, done("warm-up"))) == 95
    assert left(job("evaluating", ESTIMATED, FILLED, done("warm-up"), done("fine-tune"))) == 0


def test_a_later_estimate_takes_the_place_of_an_earlier_one():
    later = Estimated(seconds={"warm-up": 2.0, "fine-tune": 10.0}, cached="")
    assert left(job("heads", ESTIMATED, FILLED, later)) == 12


def test_an_epoch_says_what_is_left_as_a_batch_does():
    epoch = EpochDone(
        phase="fine-tune",
        epoch=1,
        epochs=2,
        loss=1.0,
        validation_loss=1.0,
        validation_accuracy=0.5,
        best=True,
        seconds=1.0,
        seconds_left=40.0,
        drift={},
    )
    assert left(job("fine-tune", ESTIMATED, FILLED, done("warm-up"), epoch)) == 40


def test_nothing_is_expected_to_take_longer_than_it_may():
    assert left(job("caching", ESTIMATED, passed=50.0), most=60.0) == 10
    assert left(job("caching", ESTIMATED, passed=70.0), most=60.0) == 0


def test_what_is_typical_is_the_median_of_what_was_finished_of_the_same_source_first():
    jobs = [
        job("done", passed=taken, source=source, ended=time.time())
        for source, taken in [("digits", 10), ("digits", 20), ("digits", 90), ("beans", 300)]
    ]
    jobs += [job("failed", passed=1, ended=time.time()), job("warm-up")]
    assert typical_seconds(jobs, "digits") == pytest.approx(20, abs=0.5)
    assert typical_seconds(jobs, "beans") == pytest.approx(300, abs=0.5)
    assert typical_seconds(jobs, "new") == pytest.approx(55, abs=0.5)
    assert typical_seconds([], "new") is None
