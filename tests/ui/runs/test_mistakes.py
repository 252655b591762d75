import json
import shutil

import pytest

from tests.tiny import draw_classes
from transfer.data.source import load_splits
from transfer.runs.run import Run, read_run
from transfer.settings import TrainingSettings
from transfer.ui.runs import mistakes as module
from transfer.ui.runs.mistakes import mistakes


@pytest.fixture
def trained(training, stripes):
    """(a run, its source)."""
    return training[1], stripes


@pytest.fixture
def wrong(trained, tmp_path):
    """The run, wrong about two of its test images, and its source."""
    run, source = trained
    path = shutil.copytree(run.path, tmp_path / "run")
    test = load_splits(str(source), TrainingSettings()).splits["test"]
    told = [
        {"name": name, "label": "down", "predicted": "<b>", "score": 0.9} for name in test.names[:2]
    ]
    (path / "report.json").write_text(json.dumps(run.report | {"mistakes": told}))
    module._read.cache_clear()
    return read_run(path), source


def test_mistakes_are_shown_as_pictures_with_what_was_said_and_what_is_true(wrong):
    run, source = wrong
    page = mistakes(run, str(source))
    assert page.count("<img") == 2
    assert "&lt;b&gt; (90% sure), in truth down" in page and "<b>" not in page


def test_a_second_look_opens_nothing(wrong, monkeypatch):
    run, source = wrong
    first = mistakes(run, str(source))
    monkeypatch.setattr(module, "load_splits", None)
    assert mistakes(run, str(source)) == first


@pytest.mark.parametrize("source", [None, "gone"])
def test_without_the_source_their_names_are_told(wrong, hub, source):
    run, _ = wrong
    page = mistakes(run, source)
    assert "cannot be shown" in page and "<img" not in page
    assert run.report["mistakes"][0]["name"] in page


def test_a_source_that_has_changed_gives_no_pictures_of_other_images(wrong, tmp_path):
    run, _ = wrong
    other = draw_classes(tmp_path / "shapes", each=13)
    assert "<img" not in mistakes(run, str(other))


def test_no_mistakes_are_said(trained):
    run, source = trained
    flawless = Run(path=run.path, record=run.record, report=run.report | {"mistakes": []})
    assert "No mistakes" in mistakes(flawless, str(source))
