import json
import shutil

import pytest

from tests.tiny import draw_classes
from transfer.data.source import load_splits
from transfer.jobs import run_photos
from transfer.runs.run import Run, read_run
from transfer.settings import TrainingSettings
from transfer.ui.runs.mistakes import mistakes


@pytest.fixture
def wrong(training, stripes, tmp_path) -> Run:
    """The run on `stripes`, wrong about two of its test images."""
    path = shutil.copytree(training[1].path, tmp_path / "run")
    names = load_splits(str(stripes), TrainingSettings()).splits["test"].names[:2]
    wrong = [{"name": name, "label": "down", "predicted": "<b>", "score": 0.9} for name in names]
    report = training[1].report | {"mistakes": wrong}
    (path / "report.json").write_text(json.dumps(report))
    run_photos._opened.cache_clear()
    return read_run(path)


def test_pictures_have_the_prediction_and_the_true_class_and_are_read_once(
    wrong, stripes, monkeypatch
):
    page = mistakes(wrong, str(stripes))
    assert page.count("<img") == 2
    assert "Said &lt;b&gt; (90%); actually down" in page and "<b>" not in page
    monkeypatch.setattr(run_photos, "load_splits", None)
    assert mistakes(wrong, str(stripes)) == page
    wrong.report["mistakes"].clear()
    assert "No mistakes" in mistakes(wrong, None)


@pytest.mark.parametrize("source", [None, "gone", "changed"])
def test_without_the_same_images_names_are_listed(wrong, hub, tmp_path, source):
    if source == "changed":
        source = str(draw_classes(tmp_path / "shapes", each=13))
    page = mistakes(wrong, source)
    assert "no longer available" in page and "<img" not in page
    assert wrong.report["mistakes"][0]["name"] in page and "<b>" not in page
