import gradio as gr
import pytest
from PIL import Image, ImageDraw

from tests.ui.visitors import ME, OTHER
from transfer import load
from transfer.ui.runs import Runs
from transfer.ui.trying import Trying


@pytest.fixture
def trying(jobs):
    return Trying(Runs(jobs, shared=False))


def test_a_photo_gets_the_scores_that_python_gives(trying, runs_folder, photo):
    by_page = trying.photo(ME, "tiny", str(photo))
    by_python = {p.label: p.score for p in load(runs_folder / "tiny").classify(photo)}
    assert by_page == pytest.approx(by_python, abs=1e-5)


def test_a_shared_server_keeps_runs_to_their_owner(jobs, photo):
    with pytest.raises(gr.Error, match="of yours"):
        Trying(Runs(jobs, shared=True)).photo(OTHER, "tiny", str(photo))


def test_no_picture_no_answer_and_an_unreadable_one_is_a_sentence(trying, tmp_path):
    assert trying.photo(ME, "tiny", None) is None
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    with pytest.raises(gr.Error, match="no image"):
        trying.photo(ME, "tiny", str(text))


def test_a_drawing_is_classified_and_an_empty_one_is_a_sentence(trying):
    canvas = Image.new("RGB", (280, 280), "white")
    with pytest.raises(gr.Error, match="empty canvas"):
        trying.drawing(ME, "tiny", {"composite": canvas})
    ImageDraw.Draw(canvas).line((60, 60, 200, 60, 120, 220), fill="black", width=20)
    assert len(trying.drawing(ME, "tiny", {"composite": canvas})) == 3


def test_runs_are_listed(trying):
    assert trying.choices(ME).choices == [("tiny", "tiny")]
