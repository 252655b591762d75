import asyncio
import time

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER
from transfer.jobs import Jobs
from transfer.ui.own import OwnData
from transfer.ui.sources import Sources
from transfer.ui.trainings import ADVANCED, Trainings

NOTHING = [None if name != "weights" else "auto" for name in ADVANCED]


def over(jobs: Jobs) -> Trainings:
    return Trainings(jobs, Sources(OwnData(jobs.runs / ".own"), shared=False))


@pytest.fixture
def trainings(jobs):
    return over(jobs)


def test_starting_shows_the_job_and_stopping_is_the_owner_s_alone(trainings):
    shown = trainings.start(ME, "digits", "finetune", "block5", *NOTHING)
    assert "Waiting" in shown[0] or "Loading" in shown[0]
    trainings.stop(OTHER)
    assert not trainings.jobs.newest_of(ME).stopping
    trainings.stop(ME)
    job = trainings.jobs.newest_of(ME)
    assert job.stopping or job.state == "stopped"


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "/etc/passwd"},
        {"image_size": 7},
        {"target_accuracy": 90},
        {"head_lr": "fast"},
        {"seed": 1.5},
    ],
)
def test_bad_settings_are_a_sentence_and_start_nothing(trainings, change):
    advanced = [change.get(name, value) for name, value in zip(ADVANCED, NOTHING, strict=True)]
    with pytest.raises(gr.Error):
        trainings.start(ME, "digits", "finetune", "block5", *advanced)
    assert trainings.jobs.newest_of(ME) is None


def test_a_visitor_without_a_name_starts_nothing(trainings):
    with pytest.raises(gr.Error, match="reload"):
        trainings.start("", "digits", "finetune", "block5", *NOTHING)


def test_watching_ends_when_there_is_nothing_to_watch(trainings):
    async def first_and_last():
        return [shown async for shown in trainings.watch(ME)]

    assert len(asyncio.run(first_and_last())) == 1


def test_watching_follows_a_job_to_its_end(runs_folder):
    jobs = Jobs(runs_folder, command=("false",))
    trainings = over(jobs)

    async def watch():
        return [shown async for shown in trainings.watch(ME)]

    trainings.start(ME, "digits", "finetune", "block5", *NOTHING)
    deadline = time.monotonic() + 10
    seen = asyncio.run(watch())
    assert time.monotonic() < deadline
    assert "failed" in seen[-1][0]
    jobs.close()
