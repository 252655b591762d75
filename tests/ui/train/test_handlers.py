import asyncio
import time
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER
from transfer.jobs import Job, JobManager
from transfer.settings import TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import PHOTOS, UploadHandlers
from transfer.ui.train.form import ADVANCED
from transfer.ui.train.handlers import TrainHandlers

NOTHING = [None if name != "weights" else "auto" for name in ADVANCED]
USUAL = ("digits", "finetune", "balanced", "block5")
STATUS, CHARTS, RESULT, START, STOP, AGAIN, PICTURE, SHOWN_RUN = range(8)


def over(jobs: JobManager) -> TrainHandlers:
    return TrainHandlers(jobs, DataHandlers(UploadHandlers(jobs), shared=False))


@pytest.fixture
def trainings(jobs):
    return over(jobs)


def watched(trainings: TrainHandlers) -> list[tuple]:
    async def watch():
        return [shown async for shown in trainings.watch(ME)]

    return asyncio.run(watch())


def test_starting_shows_the_job_and_stopping_is_the_owner_s_alone(trainings):
    shown = trainings.start(ME, *USUAL, *NOTHING)
    assert "Waiting" in shown[STATUS] or "Loading" in shown[STATUS]
    assert 'class="vgg"' in shown[PICTURE] and shown[CHARTS] and shown[SHOWN_RUN] == ""
    assert not shown[START].interactive and shown[STOP].interactive
    trainings.stop(OTHER)
    assert not trainings.jobs.newest_of(ME).stopping
    trainings.stop(ME)
    job = trainings.jobs.newest_of(ME)
    assert job.stopping or job.state == "stopped"


def test_the_effort_and_the_block_reach_the_training(trainings):
    trainings.start(ME, "digits", "finetune", "thorough", "block3", *NOTHING)
    settings = trainings.jobs.newest_of(ME).settings
    assert (settings.effort, settings.unfreeze) == ("thorough", "block3")


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "/etc/passwd"},
        {"image_size": 7},
        {"target_accuracy": 90},
        {"head_lr": "fast"},
        {"seed": 1.5},
        {"precision": "fp8"},
        {"class_weights": "maybe"},
        {"head": "huge"},
    ],
)
def test_bad_settings_are_a_sentence_and_start_nothing(trainings, change):
    advanced = [change.get(name, value) for name, value in zip(ADVANCED, NOTHING, strict=True)]
    with pytest.raises(gr.Error):
        trainings.start(ME, *USUAL, *advanced)
    assert trainings.jobs.newest_of(ME) is None


@pytest.mark.parametrize(
    "choice", [("magic", "balanced", "block5"), ("finetune", "heroic", "none")]
)
def test_a_choice_that_is_none_starts_nothing(trainings, choice):
    with pytest.raises(gr.Error, match="must be one of"):
        trainings.start(ME, "digits", *choice, *NOTHING)


def test_a_visitor_without_a_name_starts_nothing(trainings):
    for act in (trainings.start, trainings.again):
        with pytest.raises(gr.Error, match="reload"):
            act("", *([*USUAL, *NOTHING] if act == trainings.start else []))


def test_one_s_own_photos_are_called_so_and_not_by_their_path(trainings):
    trainings.start(ME, PHOTOS, *USUAL[1:], *NOTHING)
    assert trainings.jobs.newest_of(ME).name == PHOTOS


def test_watching_ends_when_there_is_nothing_to_watch(trainings):
    assert watched(trainings) == [(gr.skip(),) * len(trainings._shown(None))]


def test_watching_follows_a_job_to_its_end_which_may_be_started_again(tmp_path):
    jobs = JobManager(tmp_path / "runs", command=("false",))
    trainings = over(jobs)
    trainings.start(ME, *USUAL, *NOTHING)
    deadline = time.monotonic() + 10
    seen = watched(trainings)
    assert time.monotonic() < deadline
    assert "failed" in seen[-1][STATUS] and seen[-1][AGAIN].visible
    first = jobs.newest_of(ME)
    trainings.again(ME)
    again = jobs.newest_of(ME)
    assert again.id != first.id
    assert (again.source, again.settings) == (first.source, first.settings)
    jobs.close()


def test_a_report_that_is_looked_at_stays_until_a_training_has_its_own(trainings, runs_folder):
    begun = trainings.start(ME, *USUAL, *NOTHING)
    assert (begun[RESULT], begun[SHOWN_RUN]) == ("", "")
    job = trainings.jobs.newest_of(ME)
    for state in ("warm-up", "failed", "stopped"):
        job.state = state
        shown = trainings._shown(job)
        assert shown[RESULT] == shown[SHOWN_RUN] == gr.skip()
    job.state, job.out = "done", runs_folder / "gone"
    shown = trainings._shown(job)
    assert "warning" in shown[RESULT] and shown[SHOWN_RUN] == ""


def test_who_waits_sees_the_time_until_it_starts_go_down(trainings, monkeypatch):
    known = {"id": "1", "owner": "", "source": "digits", "out": Path("runs/x")}
    known["settings"] = TrainingSettings()
    job, left = Job(**known), [80.0, 80.1, 61.0]
    monkeypatch.setattr(trainings.jobs, "newest_of", lambda visitor: job)
    monkeypatch.setattr(trainings.jobs, "position", lambda job: 1)
    monkeypatch.setattr(trainings.jobs, "expected_wait", lambda job: left[0])

    async def later(seconds: float) -> None:
        left.pop(0)
        if not left:
            raise EOFError

    monkeypatch.setattr(asyncio, "sleep", later)
    told = []

    async def watch():
        async for shown in trainings.watch(ME):
            told.append(shown[STATUS])

    with pytest.raises(EOFError):
        asyncio.run(watch())
    assert ["about 80 s" in told[0], "about 61 s" in told[1], len(told)] == [True, True, 2]


def test_without_a_training_there_is_nothing_to_start_again(trainings):
    with pytest.raises(gr.Error, match="start one"):
        trainings.again(ME)


def test_a_finished_training_shows_its_report_and_names_its_run(trainings, runs_folder):
    known = {"id": "1", "owner": "", "source": "digits", "settings": TrainingSettings()}
    shown = trainings._shown(Job(**known, state="done", out=runs_folder / "tiny"))
    assert "Accuracy after each phase" in shown[RESULT] and shown[SHOWN_RUN] == "tiny"
    assert not shown[AGAIN].visible and shown[START].interactive
