import asyncio

import gradio as gr
import pytest

from tests.jobs.fake import ended, manager
from tests.ui.conftest import trainings_of
from tests.ui.visitors import ME, OTHER, teach
from transfer.errors import JobError
from transfer.jobs import JobManager
from transfer.settings import TrainingSettings
from transfer.ui.data.uploads import OTHERS, PHOTOS
from transfer.ui.train.handlers import TrainHandlers

FORM = {"effort": "thorough", "unfreeze": "block3", "weights": "auto"}
STATUS, CHARTS, START, STOP, RETRY, DIAGRAM, SHOWN_RUN = range(7)


@pytest.fixture
def trainings(empty):
    return trainings_of(empty)


def watched(trainings: TrainHandlers) -> list[tuple]:
    async def watch():
        return [shown async for shown in trainings.watch(ME)]

    return asyncio.run(watch())


def test_starting_shows_the_job_and_only_its_owner_stops_it(trainings, photo):
    with pytest.raises(gr.Error, match="at least 2 classes"):
        trainings.start(ME, PHOTOS, **FORM)
    teach(trainings.datasets.uploads, cat=[photo] * 5, dog=[photo] * 5)
    shown = trainings.start(ME, PHOTOS, **FORM)
    assert 'class="vgg"' in shown[DIAGRAM] and shown[CHARTS] and shown[SHOWN_RUN] == ""
    assert not shown[START].interactive and shown[STOP].interactive
    job = trainings.jobs.newest_of(ME)
    assert job.settings == TrainingSettings(effort="thorough", unfreeze="block3")
    assert job.name == PHOTOS  # not their path
    trainings.stop(OTHER)
    assert not job.stopping
    trainings.stop(ME)
    assert job.stopping or job.state == "stopped"


def test_a_training_gets_the_visitor_s_photos_of_other_things(empty, photo):
    trainings = trainings_of(empty, shared=True)
    others = trainings.datasets.uploads.others(ME)
    others.add_class(OTHERS)
    for _ in range(5):
        others.add(OTHERS, photo)
    trainings.start(ME, "digits", **FORM)
    mine = trainings.jobs.newest_of(ME).settings.others
    assert mine == trainings.datasets.uploads.others_of(ME)
    for others, owner in ((mine, OTHER), ("/home", OTHER)):
        with pytest.raises(JobError, match="found a place on this server"):
            trainings.begin(owner, "digits", TrainingSettings(others=others))
    job = trainings_of(empty).begin(OTHER, "digits", TrainingSettings(others="/home"))
    assert job.settings.others == "/home", "one's own server"


def test_what_is_invalid_is_a_sentence_and_starts_nothing(trainings):
    for change in ({"weights": "/etc/passwd"}, {"image_size": "7"}):
        with pytest.raises(gr.Error, match="must be"):
            trainings.start(ME, "digits", **FORM | change)
    with pytest.raises(gr.Error, match="start one"):
        trainings.retry(ME)
    with pytest.raises(gr.Error, match="reload"):
        trainings.start("", "digits", **FORM)
    assert watched(trainings) == [gr.skip()]


def test_watching_follows_a_failing_job_to_its_end_and_it_can_be_retried(tmp_path):
    jobs = JobManager(tmp_path / "runs", command=("false",))
    trainings = trainings_of(jobs)
    trainings.start(ME, "digits", **FORM)
    end = watched(trainings)[-1]
    assert "failed" in end[STATUS] and end[RETRY].visible
    first = jobs.newest_of(ME)
    trainings.retry(ME)
    again = jobs.newest_of(ME)
    assert again.id != first.id
    assert (again.source, again.settings) == (first.source, first.settings)
    jobs.close()


def test_an_open_report_stays_until_a_training_has_its_own(tmp_path):
    with manager(tmp_path) as jobs:
        trainings = trainings_of(jobs)
        ended(jobs.start("crash", TrainingSettings(), ME))
        assert watched(trainings)[-1][SHOWN_RUN] == gr.skip()
        job = ended(jobs.start("good", TrainingSettings(), ME))
        done = watched(trainings)[-1]
        assert done[SHOWN_RUN] == job.out.name and "Done" in done[STATUS]
        assert not done[RETRY].visible and done[START].interactive
        jobs.finished.delete(job.out.name, ME)
        now = trainings.newest(ME)
        assert "failed" in now[STATUS] and now[SHOWN_RUN] == gr.skip(), "nothing of what is deleted"
        assert "No training yet" in trainings.newest(OTHER)[STATUS]
