from pathlib import Path

import pytest

from tests.ui.history import history
from transfer.events import BatchDone, CacheProgress
from transfer.jobs import ENDED, LIVE, Job
from transfer.ui.status import job_status


def job(**change) -> Job:
    known = {"id": "1", "owner": "me", "source": "digits", "out": Path("runs/x"), "options": {}}
    return Job(**known | change)


@pytest.mark.parametrize("state", [*LIVE, *ENDED])
def test_every_state_has_a_sentence_and_is_announced_politely(state):
    page = job_status(job(state=state))
    assert 'aria-live="polite"' in page
    assert "<b></b>" not in page


def test_waiting_says_how_many_come_first():
    assert "2 before yours" in job_status(job(), position=3)


def test_the_bar_follows_the_cache_and_the_phase():
    passing = CacheProgress(stage="reading images", done=25, total=100, seconds=1.0)
    assert "width:25.0%" in job_status(job(state="caching", passing=passing))
    batch = BatchDone(phase="warm-up", epoch=2, done=5, total=10, seconds_left=3.0)
    started = history()[:1]
    page = job_status(job(state="warm-up", history=started, passing=batch))
    assert "width:50.0%" in page


def test_errors_are_shown_and_cannot_carry_markup():
    page = job_status(job(state="failed", error="expected <b>images</b>"))
    assert "expected &lt;b&gt;images" in page


def test_no_training_yet_is_said():
    assert "Nothing is training yet" in job_status(None)
