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


def over(jobs: JobManager, *, shared: bool) -> Api:
    sources = DataHandlers(UploadHandlers(jobs), shared=shared)
    return Api(TrainHandlers(jobs, sources), LoadedRuns(jobs, shared=shared))


@pytest.fixture
def photo(photo, monkeypatch):
    """The same, where gradio puts what is uploaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(photo.parent))
    return photo


@pytest.fixture
def api(jobs):
    return over(jobs, shared=False)


@pytest.fixture
def shared(tmp_path):
    jobs = JobManager(tmp_path / "runs", limits=JobLimits.shared(), command=SAYS_NOTHING)
    yield over(jobs, shared=True)
    jobs.close()


def caller(session: str) -> gr.Request:
    return gr.Request(session_hash=session)


def test_classify_gives_what_python_gives(api, runs_folder, photo):
    by_api = api.classify({"path": str(photo)}, "tiny", 2)
    by_python = load(runs_folder / "tiny").classify(photo, top=2)
    assert [p["label"] for p in by_api] == [p.label for p in by_python]
    assert [p["score"] for p in by_api] == pytest.approx([p.score for p in by_python], abs=1e-5)


def test_the_example_is_there_for_everybody(shared, photo):
    assert len(shared.classify({"path": str(photo)}, EXAMPLE, 3, caller("one"))) == 3


@pytest.mark.parametrize("run", ["", "gone", "../runs/tiny", "/", ".", "..", "tiny/../tiny"])
def test_a_run_s_name_is_no_way_out_of_the_folder_of_runs(api, run, photo, hub):
    with pytest.raises(gr.Error):
        api.classify({"path": str(photo)}, run)


@pytest.mark.parametrize("run", [None, 7, True, ["tiny"], {"run": "tiny"}])
def test_what_is_no_name_of_a_run_is_a_sentence(api, run, photo):
    with pytest.raises(gr.Error, match="no such finished run"):
        api.classify({"path": str(photo)}, run)


@pytest.mark.parametrize("top", [0, -1, True, 1.5, "3", None, [1], {}])
def test_how_many_classes_to_name_is_a_whole_number(api, top, photo):
    with pytest.raises(gr.Error, match="whole number"):
        api.classify({"path": str(photo)}, "tiny", top)


def test_runs_are_listed_with_what_classify_takes(api, photo):
    listed = api.list_runs()
    assert [run["run"] for run in listed] == ["tiny"]
    assert 0 <= listed[0]["accuracy"] <= 1
    assert api.classify({"path": str(photo)}, listed[0]["run"])


def test_a_training_is_started_followed_and_stopped_by_its_name_alone(shared):
    started = shared.start_training("digits", {"head_epochs": 3}, caller("one"))
    assert started["state"] in ("queued", "loading") and started["run"] is None
    assert shared.training_status(started["job"])["job"] == started["job"]
    shared.stop_training(started["job"])
    stopped = shared.training_status(started["job"])
    assert stopped["state"] in ("stopped", "loading")


def test_a_foreign_job_is_as_if_it_were_not_there(shared):
    job = shared.start_training("digits", {}, caller("one"))["job"]
    number = job.partition(".")[0]
    for guess in (number, f"{number}.api-two", f"{number}.", "x.y", ""):
        for call in (shared.training_status, shared.stop_training):
            with pytest.raises(gr.Error, match=r"no such training|expected"):
                call(guess)
    assert shared.training_status(job)["state"] in ("queued", "loading")


def test_each_client_has_one_training_at_a_time(shared):
    job = shared.start_training("digits", {}, caller("one"))["job"]
    wait_for(lambda: shared.training_status(job)["state"] != "queued")
    with pytest.raises(gr.Error, match="still running"):
        shared.start_training("digits", {}, caller("one"))
    assert shared.start_training("digits", {}, caller("two"))["before"] == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": "/etc/passwd"},
        {"image_size": 7},
        {"no_such": 1},
        {"head_epochs": "many"},
        {"warm_up": {"epochs": 3}},
        {"fine_tune": None},
        {"optimizer": ["x"]},
        {"config": {}},
        {"weights": ["hub"]},
        {"cls": 1},
        {"owner": "one"},
        ["head_epochs"],
    ],
)
def test_bad_settings_are_a_sentence_and_start_nothing(api, settings):
    with pytest.raises(gr.Error):
        api.start_training("digits", settings)
    assert api.jobs.all_of("") == []


def test_a_shared_server_opens_no_folder_of_its_own(shared, stripes, hub):
    job = shared.start_training(str(stripes), {}, caller("one"))
    assert shared.jobs.get(job["job"].partition(".")[0], "api-one").source.startswith("hub:")
