from pathlib import Path

import pytest

from tests.ui.history import history
from transfer.events import BatchDone, BodyProgress, CacheProgress, Estimated
from transfer.jobs import ENDED, LIVE, Job
from transfer.settings import TrainingSettings
from transfer.ui.train.status import job_status


def job(**change) -> Job:
    known = {"id": "1", "owner": "me", "source": "digits", "out": Path("runs/x")}
    known["settings"] = TrainingSettings()
    return Job(**known | change)


@pytest.mark.parametrize("state", [*LIVE, *ENDED])
def test_every_state_has_a_sentence_and_is_announced_politely(state):
    page = job_status(job(state=state))
    region = page.partition('role="status" aria-live="polite">')[2].partition("</div>")[0]
    assert "<b>" in region
    assert ("<p>" in region) == (state in ENDED)  # what changes all the time is not read out
    assert "<b></b>" not in page


def test_waiting_says_how_many_come_first_and_how_long_that_takes():
    page = job_status(job(), position=2, wait=75.0)
    assert "2 before yours" in page and "It starts in about 75 s" in page
    assert "not known" in job_status(job(), position=2)


def test_the_time_left_is_told_while_it_runs_and_what_each_phase_takes():
    estimated = Estimated(seconds={"warm-up": 4.0, "fine-tune": 30.0}, cached="all is kept")
    page = job_status(job(state="warm-up", history=[estimated]), left=25.0)
    assert "About 25 s left in all" in page and "warm-up 4 s, fine-tune 30 s" in page
    assert "left in all" not in job_status(job(state="done", history=[estimated]))


@pytest.mark.parametrize("state", ["stopped", "failed", "interrupted", "expired"])
def test_an_end_without_a_run_says_what_to_do(state):
    assert "Start again" in job_status(job(state=state))
    assert "Start again" not in job_status(job(state="done"))


def test_one_that_left_a_checkpoint_says_from_where_it_goes_on(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "training.safetensors").touch()
    for state in ("failed", "interrupted", "stopped"):
        page = job_status(job(state=state, history=history(), out=tmp_path))
        assert "goes on after fine-tune epoch" in page and "nothing was kept" not in page


def test_what_else_is_known_of_an_end_is_told():
    assert "after 30 minutes &lt;b&gt;" in job_status(
        job(state="done", note="after 30 minutes <b>")
    )


def test_warm_up_alone_is_no_phase_of_two():
    assert "of 2" in job_status(job(state="warm-up"))
    assert "of 2" not in job_status(
        job(state="warm-up", settings=TrainingSettings(unfreeze="none"))
    )


def test_the_bar_follows_the_cache_and_the_phase():
    progress = CacheProgress(stage="reading images", done=25, total=100, seconds=1.0)
    assert "width:25.0%" in job_status(job(state="caching", progress=progress))
    batch = BatchDone(phase="warm-up", epoch=2, done=5, total=10, seconds_left=3.0)
    started = history()[:1]
    page = job_status(job(state="warm-up", history=started, progress=batch))
    assert "width:50.0%" in page


def test_a_download_of_the_body_is_shown_as_far_as_it_is():
    progress = BodyProgress(done_bytes=14_725_000, total_bytes=58_900_000)
    page = job_status(job(state="loading", progress=progress))
    assert "width:25.0%" in page and "Downloading the pretrained body: 15 of 59 MB" in page


def test_errors_are_shown_and_cannot_carry_markup():
    page = job_status(job(state="failed", error="expected <b>images</b>"))
    assert "expected &lt;b&gt;images" in page


def test_no_training_yet_is_said():
    assert "Nothing is training yet" in job_status(None)
