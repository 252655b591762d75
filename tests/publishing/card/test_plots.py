import io
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from tests.hub_datasets import plain
from tests.publishing.card.cards import telling, with_classes
from tests.tiny import TINY, picture
from transfer.cache.paths import cache_folder
from transfer.publishing.card.mistakes import MistakeExample, mistakes_again
from transfer.publishing.card.plots import draw_confusion, draw_curves, draw_mistakes
from transfer.training.recipe import train

STRANGE = ("$\\frac{", "بقرة", "牛", "<b>", "x\u202ey", "long name " * 20, "a\nb", "", "$$", "🐝")


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and "Software" not in image.info
    return image


def assert_white_and_opaque(png: bytes) -> np.ndarray:
    pixels = np.asarray(opened(png).convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    for corner in (pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]):
        assert tuple(corner) == (255, 255, 255, 255)
    return pixels


def test_pictures_are_opaque_and_white_for_light_and_dark_pages(run):
    assert_white_and_opaque(draw_curves(run.report))
    assert_white_and_opaque(draw_confusion(run.classes, run.report["confusion"]))
    shown = MistakeExample(picture=picture(0, 0), truth=("a", 0), answer=("b", 1), score=0.9)
    assert_white_and_opaque(draw_mistakes([shown] * 5))


def test_both_phases_are_shaded(run):
    pixels = assert_white_and_opaque(draw_curves(run.report))
    for shade in ((0xFE, 0xF3, 0xC7), (0xDB, 0xEA, 0xFE)):
        assert (pixels[..., :3] == shade).all(axis=-1).sum() > 1000
    alone = telling(run, report={"curves": {"warm-up": run.report["curves"]["warm-up"]}}).report
    pixels = assert_white_and_opaque(draw_curves(alone))
    assert not (pixels[..., :3] == (0xDB, 0xEA, 0xFE)).all(axis=-1).any()


@pytest.mark.parametrize("broken", [None, float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_left_out(broken, run):
    curve = [epoch | {"loss": broken, "validation_loss": broken}
             for epoch in run.report["curves"]["warm-up"]]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_white_and_opaque(draw_curves({"curves": {"warm-up": curve}}))


def test_without_a_phase_there_are_no_curves():
    assert draw_curves({"curves": {}}) is None and draw_curves({}) is None


def test_names_of_any_kind_are_drawn_without_complaint(run):
    run = with_classes(run, STRANGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = draw_confusion(run.classes, run.report["confusion"])
        shown = [
            MistakeExample(picture=picture(0, 0), truth=(name, 0), answer=(name, 1), score=1.0)
            for name in STRANGE
        ]
        draw_mistakes(shown)
    assert opened(png).width < 2000


def test_too_many_classes_make_no_confusion_matrix(run):
    for number, drawn in ((40, True), (41, False), (1, False)):
        wide = with_classes(run, tuple(f"class {i}" for i in range(number)))
        png = draw_confusion(wide.classes, wide.report["confusion"])
        assert (png is not None) == drawn
        assert not png or len(png) < 300_000


def test_drawing_needs_no_pyplot_and_writes_into_our_cache_alone(tmp_path):
    code = (
        "import sys; from transfer.publishing.card.plots import draw_confusion; "
        "assert draw_confusion(('a', 'b'), [[1, 0], [0, 1]]); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    home = {"HOME": str(tmp_path / "home"), "TRANSFER_CACHE": str(tmp_path / "cache")}
    clean = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    (tmp_path / "home").mkdir()
    subprocess.run([sys.executable, "-c", code], check=True, env=clean | home, timeout=120)
    assert not list((tmp_path / "home").iterdir())


@pytest.fixture
def of_the_hub(hub, tmp_path):
    """A run on an open data set of the Hub."""
    hub.add("datasets", "some/rows", {"train.parquet": plain(*[0, 1] * 12)})

    def make(**options):
        return train("hub:some/rows", out=tmp_path / "run", **TINY | options)

    return make


def called_wrong(run):
    """With a mistake for every image of the test."""
    from transfer.data.source import load_splits

    test = load_splits("hub:some/rows", run.settings).splits["test"]
    names = [
        (name, run.classes[label]) for name, label in zip(test.names, test.labels, strict=True)
    ]
    mistakes = [
        {"name": name, "label": label, "predicted": run.classes[0], "score": 0.7}
        for name, label in names
    ]
    return telling(run, report={"mistakes": mistakes})


@pytest.mark.parametrize("options", [{}, {"limit_per_class": 8}])
def test_mistakes_on_a_hub_set_are_seen_again_without_a_download(options, hub, of_the_hub):
    run = called_wrong(of_the_hub(**options))
    hub.served.clear()
    shown = mistakes_again(run)
    assert shown and shown[0].truth[0] in run.classes
    assert not [name for name, _ in hub.served if name.endswith(".parquet")]


def test_images_that_are_no_longer_here_are_not_downloaded_for_a_card(hub, of_the_hub):
    run = called_wrong(of_the_hub(limit_per_class=8))
    shutil.rmtree(cache_folder() / "taken")
    hub.served.clear()
    assert mistakes_again(run) == []
    assert not [name for name, _ in hub.served if name.endswith(".parquet")]


def test_mistakes_are_not_shown_where_the_images_are_gone_or_others(hub, of_the_hub):
    run = called_wrong(of_the_hub(limit_per_class=8))
    assert mistakes_again(telling(run, revision="another")) == []
    assert mistakes_again(telling(run, source="hub:some/where")) == []
    hidden = [mistake | {"name": ""} for mistake in run.report["mistakes"]]
    assert mistakes_again(telling(run, report={"mistakes": hidden})) == []
    swapped = [mistake | {"label": "another"} for mistake in run.report["mistakes"]]
    assert mistakes_again(telling(run, report={"mistakes": swapped})) == []
