import shutil
from pathlib import Path

import gradio as gr
import pytest

from tests.tiny import CLASSES, TINY, drained, draw_mislabelled, picture
from tests.ui.visitors import ME, OTHER
from transfer.data.corrections import read_corrections
from transfer.jobs import JobLimits, run_photos
from transfer.settings import Correction, TrainingSettings
from transfer.training.recipe import training_events
from transfer.ui.runs.label_handlers import STOPPED, LabelHandlers
from transfer.ui.runs.labels import label_cards, list_test_photos

SUMMARY, CHECKED, DECIDING, CARDS, BULK = range(5)


@pytest.fixture
def wrong(tmp_path):
    """A folder in which one label of each class is wrong, and a run on it: `first`."""
    folder = draw_mislabelled(tmp_path / "photos")
    options = TINY | {"precision": "fp32"}
    drained(training_events(str(folder), out=tmp_path / "runs" / "first", **options))
    run_photos._opened.cache_clear()
    return folder


@pytest.fixture
def handlers(runs_folder, tmp_path, manage):
    """Over a folder with one run, called `first`."""
    shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / "first", dirs_exist_ok=True)
    return LabelHandlers(manage(tmp_path / "runs"))


def test_what_is_decided_about_suspects_is_trained_again_and_downloaded(
    wrong, manage, tmp_path, gradio_folder
):
    handlers = LabelHandlers(manage(tmp_path / "runs"))
    before = {path: path.read_bytes() for path in wrong.rglob("*.png")}
    first, *_, last = [*handlers.review(ME, "first")]
    assert "progress" in first[SUMMARY] and not first[DECIDING].visible
    assert "labels are estimated to be wrong" in last[SUMMARY] and last[DECIDING].visible
    where = last[CHECKED]["where"]
    assert {*where} == {f"{label}/wrong.png" for label in CLASSES}
    assert last[CARDS].count("<img") == 3 and "About 2 of" in last[SUMMARY]
    assert "first 2" in last[BULK].value
    decisions = [{"row": 1, "label": 2}, {"row": 0, "label": None}]
    assert handlers.train(ME, last[CHECKED], decisions) == ""
    job = handlers.jobs.newest_of(ME)
    decided = {
        Correction(where=where[0], leave_out=True),
        Correction(where=where[1], label="spots"),
    }
    assert job.source == str(wrong) and {*job.settings.corrections} == decided
    assert job.settings.image_size == 32 and job.name == "photos, relabelled"
    file = handlers.download(ME, last[CHECKED], decisions)
    assert {*read_corrections(Path(file))} == decided
    assert {path: path.read_bytes() for path in wrong.rglob("*.png")} == before


def test_a_learning_curve_or_why_there_is_none_is_shown(wrong, manage, tmp_path):
    run = LabelHandlers(manage(tmp_path / "runs"))
    first, *_, last = [*run.learning_curve(ME, "first")]
    assert "progress" in first and "Would more photos help?" in last and "<polyline" in last
    shutil.rmtree(wrong)
    *_, gone = [*run.learning_curve(ME, "first")]
    assert 'class="warning"' in gone and str(tmp_path) not in gone


def test_its_visitor_stops_a_computation_and_may_begin_again(wrong, manage, tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "empty"))
    run = LabelHandlers(manage(tmp_path / "runs"))
    for compute, stops in (
        (run.review, run.stop),
        (run.learning_curve, lambda visitor: run.offered(visitor, "another")),
    ):
        steps = compute(ME, "first")
        next(steps)
        run.stop(OTHER)
        assert "progress" in "".join(map(str, next(steps)))
        stops(ME)
        (last,) = steps
        assert STOPPED[1:] in "".join(map(str, last))
        *_, started, stop = run.begin(ME)
        assert not started.interactive and stop.visible
    *_, last = run.review(ME, "first")
    assert "labels are estimated to be wrong" in last[SUMMARY]


def offers(handlers: LabelHandlers, run: str) -> bool:
    """What was found about another run is gone in any case."""
    column, curve, summary, checked, deciding, cards, _, tested = handlers.offered(ME, run)
    assert curve == summary == cards == tested == "" and checked is None and not deciding.visible
    return column.visible


def test_only_who_may_see_the_photos_checks_their_labels(handlers, tmp_path, manage):
    assert offers(handlers, "first") and not offers(handlers, "../first")
    checked = {"run": "first", "where": ["a"]}
    other = handlers.jobs.start("/photos/of/another", TrainingSettings(), owner=OTHER)
    handlers.jobs._store.change(other, out=tmp_path / "runs" / "first")
    assert not offers(handlers, "first")
    acts = (
        lambda visitor: next(handlers.review(visitor, "first")),
        lambda visitor: next(handlers.learning_curve(visitor, "first")),
        lambda visitor: handlers.train(visitor, checked, [{"row": 0, "label": 1}]),
        lambda visitor: handlers.download(visitor, checked, [{"row": 0, "label": 1}]),
    )
    for act in acts:
        with pytest.raises(gr.Error, match="may not see the photos"):
            act(ME)
        with pytest.raises(gr.Error, match="reload"):
            act("")
    shared = manage(
        shutil.copytree(tmp_path / "runs", tmp_path / "more"), limits=JobLimits.shared()
    )
    with pytest.raises(gr.Error, match="no such finished run"):
        next(LabelHandlers(shared).review(ME, "first"))


@pytest.mark.parametrize(
    "posted",
    [
        None,
        "x",
        [[]],
        [{"row": 2, "label": 0}],
        [{"row": -1, "label": 0}],
        [{"row": 0, "label": 3}],
        [{"row": 0, "label": "down"}],
        [{"row": [], "label": 0}],
        [{"row": 0}],
    ],
)
def test_decisions_about_anything_else_than_the_cards_are_refused(handlers, posted):
    with pytest.raises(gr.Error, match="check the labels again"):
        handlers.train(ME, {"run": "first", "where": ["a", "b"]}, posted)
    with pytest.raises(gr.Error, match="decide one"):
        handlers.train(ME, {"run": "first", "where": ["a", "b"]}, [])
    assert handlers.jobs.newest_of(ME) is None


def test_names_are_escaped_and_a_photo_that_cannot_be_read_still_has_its_card():
    row = {"label": "<b>", "likely": "down", "where": '"><i', "score": 0.5, "split": "train"}
    page = label_cards([(row, None)], 1, ["<b>", "down"])
    assert page.count("<b>") == page.count("</b>") and '"><i' not in page and "<img" not in page
    assert page.count('type="radio"') == 3


def test_test_photos_are_shown_without_a_choice():
    row = {"label": "<b>", "likely": "down", "where": "a", "score": 0.5, "split": "test"}
    page = list_test_photos([(row, picture(0, 0))])
    assert "never changed here" in page and "&lt;b&gt;, more likely down (0.50)" in page
    assert "<b>" not in page and "<input" not in page and not list_test_photos([])
