from PIL import Image

from tests.tiny import draw_classes
from transfer.data.checks.inspect import inspect
from transfer.data.source import load_splits
from transfer.settings import TrainingSettings
from transfer.ui.data.checks import findings


def test_problems_are_listed_by_reason_without_markup(tmp_path):
    folder = draw_classes(tmp_path / "images", each=9)

    def page() -> str:
        return findings(inspect(load_splits(str(folder), TrainingSettings())))

    assert "All 27 images can be read" in page() and 'class="warning"' not in page()
    for number in range(7):
        (folder / "down" / f"<b>{number}.png").write_bytes(b"")
    Image.new("RGB", (40, 400), "red").save(folder / "down" / "long.png")
    assert "Checked 35 images" in page() and "&lt;b&gt;" in page() and "<b>" not in page()
    assert "and 2 more: the file is empty" in page() and "long.png: at least 4" in page()
