import gradio as gr
import pytest

from transfer import load
from transfer.ui.api import Api
from transfer.ui.runs import Runs


@pytest.fixture
def api(jobs):
    return Api(Runs(jobs, shared=False))


def test_classify_gives_what_python_gives(api, runs_folder, photo):
    by_api = api.classify({"path": str(photo)}, "tiny", 2)
    by_python = load(runs_folder / "tiny").classify(photo, top=2)
    assert [p["label"] for p in by_api] == [p.label for p in by_python]
    assert [p["score"] for p in by_api] == pytest.approx([p.score for p in by_python], abs=1e-5)


@pytest.mark.parametrize("run", ["", "gone", "../runs/tiny", "/", ".", "..", "tiny/../tiny"])
def test_a_run_s_name_is_no_way_out_of_the_folder_of_runs(api, run, photo):
    with pytest.raises(gr.Error):
        api.classify({"path": str(photo)}, run)
