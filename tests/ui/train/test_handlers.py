import asyncio
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER
from transfer.jobs import Job, JobManager
from transfer.settings import TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import PHOTOS, UploadHandlers
from transfer.ui.train.handlers import TrainHandlers

FORM = {"method": "finetune", "effort": "thorough", "unfreeze": "block3", "weights": "auto"}
STATUS, CHARTS, REPORT, START, STOP, RETRY, DIAGRAM, SHOWN_RUN = range(8)
KNOWN = {"id": "1", "owner": "", "source": "digits", "settings": TrainingSettings()}


def over(jobs: JobManager) -> TrainHandlers:
    return TrainHandlers(jobs, DataHandlers(UploadHandlers(jobs), shared=False))


@pytest.fixture
def trainings(empty):
    return over(empty)


def watched(trainings: TrainHandlers) -> list[tuple]:
    async def watch():
        return [shown async for shown in trainings.watch(ME)]

    return asyncio.run(watch())


def test_starting_shows_the_job_and_only_its_owner_stops_it(trainings):
    shown = trainings.start(ME, "digits", **FORM)
    assert "Queued" in shown[STATUS] or "Loading" in shown[STATUS]
    assert 'class="vgg"' in shown[DIAGRAM] and shown[CHARTS]
    assert not shown[START].interactive and shown[STOP].interactive
    job = trainings.jobs.newest_of(ME)
    assert job.settings == TrainingSettings(effort="thorough", unfreeze="block3")
    trainings.stop(OTHER)
    assert not job.stopping
    trainings.stop(ME)
    assert job.stopping or job.state == "stopped"


@pytest.mark.parametrize("change", [{"weights": "/etc/passwd"}, {"image_size": "7"}])
def test_invalid_settings_are_a_sentence_and_start_nothing(trainings, change):
    with pytest.raises(gr.Error, match="must be"):
        trainings.start(ME, "digits", **FORM | change)
    assert trainings.jobs.newest_of(ME) is None
    assert watched(trainings) == [gr.skip()]
    with pytest.raises(gr.Error, match="start one"):
        trainings.retry(ME)


def test_a_visitor_without_an_id_starts_nothing(trainings):
    with pytest.raises(gr.Error, match="reload"):
        trainings.start("", "digits", **FORM)
    with pytest.raises(gr.Error, match="reload"):
        trainings.retry("")


def test_a_training_on_own_photos_does_not_show_their_path(trainings):
    trainings.start(ME, PHOTOS, **FORM)
    assert trainings.jobs.newest_of(ME).name == PHOTOS


def test_watching_follows_a_failing_job_to_its_end_and_it_can_be_retried(tmp_path):
    jobs = JobManager(tmp_path / "runs", command=("false",))
    trainings = over(jobs)
    trainings.start(ME, "digits", **FORM)
    end = watched(trainings)[-1]
    assert "failed" in end[STATUS] and end[RETRY].visible
    first = jobs.newest_of(ME)
    trainings.retry(ME)
    again = jobs.newest_of(ME)
    assert again.id != first.id
    assert (again.source, again.settings) == (first.source, first.settings)
    jobs.close()


def test_an_open_report_stays_until_a_training_has_its_own(trainings, runs_folder):
    started = trainings.start(ME, "digits", **FORM)
    assert started[REPORT] == started[SHOWN_RUN] == ""
    for state in ("warm-up", "failed", "stopped"):
        shown = trainings._updates(Job(**KNOWN, state=state, out=runs_folder / "gone"))
        assert shown[REPORT] == shown[SHOWN_RUN] == gr.skip()
    shown = trainings._updates(Job(**KNOWN, state="done", out=runs_folder / "gone"))
    assert "warning" in shown[REPORT] and shown[SHOWN_RUN] == ""
    shown = trainings._updates(Job(**KNOWN, state="done", out=runs_folder / "tiny"))
    assert 'class="report"' in shown[REPORT] and shown[SHOWN_RUN] == "tiny"
    assert not shown[RETRY].visible and shown[START].interactive


def test_a_queued_job_shows_the_time_until_it_starts(trainings, monkeypatch):
    job, waits = Job(**KNOWN, out=Path("runs/x")), [80.0, 80.1, 61.0]
    monkeypatch.setattr(trainings.jobs, "newest_of", lambda visitor: job)
    monkeypatch.setattr(trainings.jobs, "position", lambda job: 1)
    monkeypatch.setattr(trainings.jobs, "expected_wait", lambda job: waits[0])

    async def next_wait(seconds: float) -> None:
        waits.pop(0)
        if not waits:
            job.state = "stopped"
            waits.append(0.0)

    monkeypatch.setattr(asyncio, "sleep", next_wait)
    shown = [updates[STATUS] for updates in watched(trainings)]
    assert "about 80 s" in shown[0] and "about 61 s" in shown[1] and len(shown) == 3
