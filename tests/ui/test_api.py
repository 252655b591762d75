import gradio as gr
import pytest

from tests.ui.conftest import SAYS_NOTHING, trainings_of
from tests.waiting import wait_for
from transfer import load
from transfer.jobs import JobLimits, JobManager
from transfer.ui.api import Api
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns

ONE, TWO = (gr.Request(session_hash=name) for name in ("one", "two"))


def over(jobs: JobManager, *, shared: bool) -> Api:
    return Api(trainings_of(jobs, shared=shared), LoadedRuns(jobs, shared=shared))


@pytest.fixture
def image(photo, monkeypatch):
    """A picture as it is uploaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(photo.parent))
    return {"path": str(photo)}


@pytest.fixture
def shared(tmp_path):
    jobs = JobManager(tmp_path / "runs", limits=JobLimits.shared(), command=SAYS_NOTHING)
    yield over(jobs, shared=True)
    jobs.close()


def test_classify_gives_what_python_gives(jobs, shared, runs_folder, image):
    api = over(jobs, shared=False)
    (listed,) = api.list_runs()
    assert listed["run"] == "tiny" and 0 <= listed["accuracy"] <= 1
    by_api = api.classify(image, listed["run"], 2)
    by_python = load(runs_folder / "tiny").classify(image["path"], top=2)
    assert [p["label"] for p in by_api] == [p.label for p in by_python]
    assert [p["score"] for p in by_api] == pytest.approx([p.score for p in by_python], abs=1e-5)
    assert len(shared.classify(image, EXAMPLE, 3, ONE)) == 3


def test_a_run_is_one_of_the_caller_s_and_top_is_a_whole_number(jobs, image, hub):
    api = over(jobs, shared=False)
    for run in ("", "../runs/tiny", "tiny/../tiny", None, {"run": "tiny"}):
        with pytest.raises(gr.Error):
            api.classify(image, run)
    for top in (0, True, 1.5, "3", None):
        with pytest.raises(gr.Error, match="whole number"):
            api.classify(image, "tiny", top)


def test_a_client_has_one_training_and_only_its_name_gives_access_to_it(shared):
    job = shared.start_training("digits", {"head_epochs": 3}, ONE)["job"]
    job_id = job.partition(".")[0]
    for guess in (job_id, f"{job_id}.api-two", f"{job_id}.", "x.y", ""):
        for call in (shared.training_status, shared.stop_training):
            with pytest.raises(gr.Error, match="start one"):
                call(guess)
    wait_for(lambda: shared.training_status(job)["state"] != "queued")
    with pytest.raises(gr.Error, match="stop it or wait"):
        shared.start_training("digits", {}, ONE)
    assert shared.start_training("digits", {}, TWO)["before"] == 1
    shared.stop_training(job)
    assert shared.training_status(job)["state"] in ("stopped", "loading")


@pytest.mark.parametrize(
    "settings",
    [{"weights": "/etc/passwd"}, {"image_size": 7}, {"optimizer": ["x"]}, {"cls": 1}, [1]],
)
def test_invalid_settings_are_a_sentence_and_start_nothing(jobs, settings):
    with pytest.raises(gr.Error):
        over(jobs, shared=False).start_training("digits", settings)
    assert jobs.all_of("") == []
