import gradio as gr
import pytest

from tests.ui.conftest import SAYS_NOTHING
from tests.waiting import wait_for
from transfer import load
from transfer.jobs import JobLimits, JobManager
from transfer.ui.api import Api
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns
from transfer.ui.train.handlers import TrainHandlers

ONE, TWO = (gr.Request(session_hash=name) for name in ("one", "two"))


def over(jobs: JobManager, *, shared: bool) -> Api:
    datasets = DataHandlers(UploadHandlers(jobs), shared=shared)
    return Api(TrainHandlers(jobs, datasets), LoadedRuns(jobs, shared=shared))


@pytest.fixture
def image(photo, monkeypatch):
    """A picture as it is uploaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(photo.parent))
    return {"path": str(photo)}


@pytest.fixture
def api(jobs):
    return over(jobs, shared=False)


@pytest.fixture
def shared(tmp_path):
    jobs = JobManager(tmp_path / "runs", limits=JobLimits.shared(), command=SAYS_NOTHING)
    yield over(jobs, shared=True)
    jobs.close()


def test_classify_gives_what_python_gives(api, shared, runs_folder, image):
    (listed,) = api.list_runs()
    assert listed["run"] == "tiny" and 0 <= listed["accuracy"] <= 1
    by_api = api.classify(image, listed["run"], 2)
    by_python = load(runs_folder / "tiny").classify(image["path"], top=2)
    assert [p["label"] for p in by_api] == [p.label for p in by_python]
    assert [p["score"] for p in by_api] == pytest.approx([p.score for p in by_python], abs=1e-5)
    assert len(shared.classify(image, EXAMPLE, 3, ONE)) == 3


@pytest.mark.parametrize("run", ["", "../runs/tiny", "tiny/../tiny", None, 7, {"run": "tiny"}])
def test_a_run_must_be_one_of_the_caller_s_names(api, run, image, hub):
    with pytest.raises(gr.Error):
        api.classify(image, run)


@pytest.mark.parametrize("top", [0, True, 1.5, "3", None, [1]])
def test_top_must_be_a_whole_number(api, top, image):
    with pytest.raises(gr.Error, match="whole number"):
        api.classify(image, "tiny", top)


def test_only_the_name_of_a_training_gives_access_to_it(shared):
    started = shared.start_training("digits", {"head_epochs": 3}, ONE)
    job = started["job"]
    assert started["state"] in ("queued", "loading") and started["run"] is None
    job_id = job.partition(".")[0]
    for guess in (job_id, f"{job_id}.api-two", f"{job_id}.", "x.y", ""):
        for call in (shared.training_status, shared.stop_training):
            with pytest.raises(gr.Error, match="start one"):
                call(guess)
    assert shared.training_status(job)["job"] == job
    shared.stop_training(job)
    assert shared.training_status(job)["state"] in ("stopped", "loading")


def test_each_client_has_one_training_at_a_time(shared):
    job = shared.start_training("digits", {}, ONE)["job"]
    wait_for(lambda: shared.training_status(job)["state"] != "queued")
    with pytest.raises(gr.Error, match="stop it or wait"):
        shared.start_training("digits", {}, ONE)
    assert shared.start_training("digits", {}, TWO)["before"] == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": "/etc/passwd"},
        {"image_size": 7},
        {"no_such": 1},
        {"warm_up": {"epochs": 3}},
        {"optimizer": ["x"]},
        {"weights": ["hub"]},
        {"cls": 1},
        ["head_epochs"],
    ],
)
def test_invalid_settings_are_a_sentence_and_start_nothing(api, settings):
    with pytest.raises(gr.Error):
        api.start_training("digits", settings)
    assert api.jobs.all_of("") == []


def test_a_shared_server_opens_no_folder_of_its_own(shared, stripes, hub):
    job = shared.start_training(str(stripes), {}, ONE)
    assert shared.jobs.get(job["job"].partition(".")[0], "api-one").source.startswith("hub:")
