from pathlib import Path

from tests.ui.history import history
from transfer.events import BatchDone, BodyProgress, CacheProgress, EpochDone, Estimated, RunSaved
from transfer.jobs import ENDED, LIVE, Job
from transfer.settings import TrainingSettings
from transfer.ui.train.status import job_status


def status(position=0, wait=None, left=None, **change) -> str:
    known = {"id": "1", "owner": "me", "source": "digits", "out": Path("runs/x")}
    known |= {"settings": TrainingSettings()}
    return job_status(Job(**known | change), position, wait, left)


def test_every_state_has_a_headline_and_is_announced():
    for state in (*LIVE, *ENDED):
        page = status(state=state)
        region = page.partition('role="status" aria-live="polite">')[2].partition("</div>")[0]
        assert "<b>" in region and "<b></b>" not in page
        assert ("<p>" in region) == (state in ENDED and state != "done")  # no numbers that change


def test_it_says_when_a_job_starts_and_how_long_it_takes():
    page = status(position=2, wait=75.0)
    assert "2 before yours" in page and "Starts in about 75 s" in page
    assert "not known" in status(position=2)
    estimated = Estimated(seconds={"warm-up": 4.0, "fine-tune": 30.0}, cached="all is cached")
    page = status(state="warm-up", history=[estimated], left=25.0)
    assert "About 25 s left<" in page and "warm-up 4 s, fine-tuning 30 s" in page


def test_an_end_without_a_run_says_what_to_do(tmp_path):
    for state in ("stopped", "failed", "interrupted", "expired"):
        assert "tart again" in status(state=state)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "training.safetensors").touch()
    page = status(state="stopped", history=history(), out=tmp_path)
    assert "resumes after fine-tune epoch" in page and "Nothing was saved" not in page
    page = status(state="failed", error="expected <b>images</b>", note="after <b>30 minutes")
    assert "expected &lt;b&gt;images" in page and "after &lt;b&gt;30 minutes" in page


def test_a_run_whose_training_was_stopped_says_so_and_few_test_images_are_counted():
    result = {"accuracy": 5 / 6, "accuracy_interval": [0.436, 0.97], "images": {"test": 6}}
    phases = [("cache", None, ""), ("features", 4 / 6, ""), ("warm-up", 5 / 6, "stopped")]
    known = ("name", "test_accuracy", "ended")
    result |= {"seconds": 9.0, "phases": [dict(zip(known, phase, strict=True)) for phase in phases]}
    page = status(state="done", history=[RunSaved(run="runs/x", result=result)])
    assert "Stopped in warm-up. What it had learned is saved" in page and "Done" not in page
    assert "5 of 6 test images are right (95 % interval 44% to 97%)" in page
    assert "Features alone: 4 of 6." in page


def test_the_bar_follows_the_newest_progress():
    for progress, width in (
        (BodyProgress(done_bytes=14_725_000, total_bytes=58_900_000), "25.0%"),
        (CacheProgress(stage="images", done=25, total=100, seconds=1.0), "25.0%"),
        (BatchDone(phase="warm-up", epoch=2, done=5, total=10, seconds_left=3), "50.0%"),
    ):
        page = status(state="warm-up", history=history()[:1], progress=progress)
        assert f"width:{width}" in page and f'data-title="{float(width[:-1]):.0f}% warm-up"' in page


def test_the_newest_accuracy_stands_beside_the_time_left():
    page = status(state="warm-up", history=history(), left=30.0)
    newest = [event for event in history() if isinstance(event, EpochDone)][-1]
    assert f"About 30 s left, accuracy {newest.validation_accuracy:.1%} so far" in page
