import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.publishing.card.cards import with_classes
from tests.tiny import picture
from transfer.publishing.card.plots import draw_confusion, draw_curves, draw_mistakes

STRANGE = ("$\\frac{", "بقرة", "牛", "<b>", "x\u202ey", "long name " * 20, "a\nb", "", "$$", "🐝")


def pixels_of(png: bytes) -> np.ndarray:
    """(H, W, 3) of a PNG that is opaque, as dark pages need it. Nothing may have warned."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and "Software" not in image.info
    pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


@pytest.mark.parametrize("loss", [0.5, None, float("nan"), float("inf")])
@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_no_number_is_left_out(loss, run):
    changed = {"loss": loss, "validation_loss": loss}
    curves = {name: [e | changed for e in es] for name, es in run.report["curves"].items()}
    pixels_of(draw_curves({"curves": curves}))
    assert draw_curves({"curves": {}}) is None


@pytest.mark.filterwarnings("error")
def test_names_of_any_kind_are_drawn(run):
    run = with_classes(run, STRANGE)
    pixels = pixels_of(draw_confusion(run.classes, run.report["confusion"]))
    shown = [(picture(0, 0), {"label": s, "predicted": s, "score": 0.9}) for s in STRANGE]
    pixels_of(draw_mistakes(shown, STRANGE))
    assert pixels.shape[1] < 2000


def test_drawing_needs_no_pyplot_and_writes_into_our_cache_alone(tmp_path):
    code = (
        "import sys; from transfer.publishing.card.plots import draw_confusion; "
        "assert draw_confusion(('a', 'b'), [[1, 0], [0, 1]]); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    home = {"HOME": str(tmp_path), "TRANSFER_CACHE": str(tmp_path / "cache")}
    clean = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean | home, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
