import asyncio
import time
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from tests.tiny import TINY, draw_classes
from transfer import train
from transfer.jobs import Jobs
from transfer.ui.actions import ADVANCED, Actions

ME, OTHER = "m" * 32, "o" * 32
NOTHING = [None if name != "weights" else "auto" for name in ADVANCED]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs that holds one, called `tiny`."""
    folder = tmp_path_factory.mktemp("runs")
    source = draw_classes(tmp_path_factory.mktemp("source") / "shapes")
    train(source, out=folder / "tiny", **TINY)
    return folder


@pytest.fixture
def idle(runs):
    """Actions whose workers wait for ever and say nothing."""
    jobs = Jobs(runs, command=("sleep", "60"))
    yield Actions(jobs, shared=False)
    for worker in (jobs._worker, jobs._spare):
        if worker:
            worker.kill()
    jobs.close()


def test_a_source_is_shown_with_its_classes_and_samples(idle, tmp_path):
    page = idle.show_source(ME, str(draw_classes(tmp_path / "shapes")))
    assert "3 classes, 24 images" in page
    assert page.count("<img") == 12
    assert str(tmp_path) not in page


def test_a_source_that_is_not_there_is_a_sentence(idle, hub):
    assert "no folder or zip is called" in idle.show_source(ME, "nowhere")
    assert "found nothing" in idle.show_source(ME, None)


def test_a_shared_server_opens_no_folder_of_its_own(runs, tmp_path, hub):
    actions = Actions(Jobs(runs), shared=True)
    page = actions.show_source(ME, str(draw_classes(tmp_path / "shapes")))
    assert 'class="warning"' in page and "<img" not in page
    assert "1,797 images" in actions.show_source(ME, "digits")


def test_starting_shows_the_job_and_stopping_is_the_owner_s_alone(idle):
    shown = idle.start(ME, "digits", "finetune", "block5", *NOTHING)
    assert "Waiting" in shown[0] or "Loading" in shown[0]
    idle.stop(OTHER)
    assert not idle.jobs.newest_of(ME).stopping
    idle.stop(ME)
    job = idle.jobs.newest_of(ME)
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
def test_bad_settings_are_a_sentence_and_start_nothing(idle, change):
    advanced = [change.get(name, value) for name, value in zip(ADVANCED, NOTHING, strict=True)]
    with pytest.raises(gr.Error):
        idle.start(ME, "digits", "finetune", "block5", *advanced)
    assert idle.jobs.newest_of(ME) is None


def test_a_visitor_without_a_name_starts_nothing(idle):
    with pytest.raises(gr.Error, match="reload"):
        idle.start("", "digits", "finetune", "block5", *NOTHING)


def test_watching_ends_when_there_is_nothing_to_watch(idle):
    async def first_and_last():
        return [shown async for shown in idle.watch(ME)]

    assert len(asyncio.run(first_and_last())) == 1


def test_watching_follows_a_job_to_its_end(runs, tmp_path):
    jobs = Jobs(runs, command=("false",))
    actions = Actions(jobs, shared=False)

    async def watch():
        return [shown async for shown in actions.watch(ME)]

    actions.start(ME, "digits", "finetune", "block5", *NOTHING)
    deadline = time.monotonic() + 10
    seen = asyncio.run(watch())
    assert time.monotonic() < deadline
    assert "failed" in seen[-1][0]
    jobs.close()


def test_photo_file_and_python_agree(idle, runs, tmp_path):
    from transfer import load

    photo = tmp_path / "photo.png"
    Image.effect_noise((50, 70), 90).convert("RGB").save(photo)
    by_page = idle.classify_photo(ME, "tiny", str(photo))
    by_api = {p["label"]: p["score"] for p in idle.classify_file({"path": str(photo)}, "tiny", 3)}
    by_python = {p.label: p.score for p in load(runs / "tiny").classify(photo)}
    assert by_page.keys() == by_api.keys() == by_python.keys()
    for label, score in by_python.items():
        assert by_page[label] == pytest.approx(score, abs=1e-5)
        assert by_api[label] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("run", ["", "gone", "../runs/tiny", "/", ".", "..", "tiny/../tiny"])
def test_a_run_s_name_is_no_way_out_of_the_folder_of_runs(idle, run, tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9)).save(photo)
    with pytest.raises(gr.Error):
        idle.classify_file({"path": str(photo)}, run)


def test_a_shared_server_keeps_runs_to_their_owner(runs, tmp_path):
    actions = Actions(Jobs(runs), shared=True)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9)).save(photo)
    with pytest.raises(gr.Error, match="of yours"):
        actions.classify_photo(OTHER, "tiny", str(photo))


def test_no_picture_no_answer_and_an_unreadable_one_is_a_sentence(idle, tmp_path):
    assert idle.classify_photo(ME, "tiny", None) is None
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    with pytest.raises(gr.Error, match="no image"):
        idle.classify_photo(ME, "tiny", str(text))


def test_a_drawing_is_classified_and_an_empty_one_is_a_sentence(idle):
    canvas = Image.new("RGB", (280, 280), "white")
    with pytest.raises(gr.Error, match="empty canvas"):
        idle.classify_drawing(ME, "tiny", {"composite": canvas})
    ImageDraw.Draw(canvas).line((60, 60, 200, 60, 120, 220), fill="black", width=20)
    assert len(idle.classify_drawing(ME, "tiny", {"composite": canvas})) == 3


def test_runs_are_listed_newest_first(idle, runs):
    assert idle.runs(ME).choices == [("tiny", "tiny")]
    assert Path(runs / "tiny" / "run.json").exists()
