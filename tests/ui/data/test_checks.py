from PIL import Image

from tests.tiny import draw_classes
from transfer.data.checks.inspect import inspect
from transfer.data.source import load_splits
from transfer.events import CacheProgress
from transfer.settings import TrainingSettings
from transfer.ui.data.checks import findings, progress


def found(folder):
    return inspect(load_splits(str(folder), TrainingSettings()))


def test_progress_says_how_far_it_is():
    page = progress(CacheProgress(stage="looking", done=1000, total=4000, seconds=1.0))
    assert "1,000 of 4,000" in page and "width:25.0%" in page


def test_nothing_wrong_is_said(tmp_path):
    page = findings(found(draw_classes(tmp_path / "images", each=9)))
    assert "All 27 images can be read" in page
    assert 'class="warning"' not in page


def test_what_is_wrong_is_listed_by_reason_and_cannot_carry_markup(tmp_path):
    folder = draw_classes(tmp_path / "images", each=9)
    for number in range(7):
        (folder / "down" / f"<b>{number}.png").write_bytes(b"")
    Image.new("RGB", (40, 400), "red").save(folder / "down" / "long.png")
    page = findings(found(folder))
    assert "Looked at 35 images" in page and "&lt;b&gt;" in page and "<b>" not in page
    assert "and 2 more: the file is empty" in page
    assert "long.png: at least 4 times as long as wide" in page
