import re

import numpy as np
import pytest
from PIL import Image

from tests.tiny import picture
from transfer.inference.classifier import Prediction
from transfer.inference.grad_cam import HeatMap
from transfer.ui.predict import cards as show

PHOTO = picture(0, 0)
EVIL = "<script>alert(1)</script>"
FOUND = [Prediction(label="ant", score=0.9), Prediction(label=EVIL, score=0.1)]
HEAT = HeatMap(label=EVIL, score=0.1, heat=np.eye(4, dtype=np.float32))


def pictures(page: str) -> int:
    return page.count('src="data:image/webp;base64,')


def test_a_picture_stands_beside_its_bars_best_first():
    page = show.ranked_card("a.jpg", PHOTO, FOUND)
    assert pictures(page) == 1 and 'alt="a.jpg"' in page
    assert re.findall(r'class="best".*?title="(.*?)"', page) == ["ant"]
    assert re.findall(r"width:(.*?)%", page) == ["90.0", "10.0"]


@pytest.mark.parametrize(
    "page",
    [
        show.ranked_card(EVIL, PHOTO, FOUND),
        show.unreadable_card(EVIL, EVIL),
        show.heat_card(EVIL, PHOTO, FOUND, HEAT),
        show.stages_card(EVIL, PHOTO, {"features": FOUND, EVIL: FOUND}),
        show.answers([], EVIL),
        show.sentence(EVIL),
        show.about(EVIL),
    ],
    ids=["ranked", "unreadable", "heat", "stages", "note", "sentence", "about"],
)
def test_no_name_carries_markup(page):
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_label_of_any_length_is_cut():
    page = show.ranked_card("a", PHOTO, [Prediction(label="x" * 10_000, score=1.0)])
    assert "x" * 79 + "…" in page and "x" * 80 not in page


@pytest.mark.parametrize(
    "score, told",
    [(1.0, "100.0%"), (0.9996, "> 99.9%"), (0.999, "99.9%"), (0.0001, "< 0.1%"), (0.0, "0.0%")],
)
def test_no_percentage_is_surer_than_the_score(score, told):
    assert show.percent(score) == told


def test_a_heat_map_stands_beside_the_picture_with_its_class_and_score():
    page = show.heat_card("a.jpg", PHOTO, FOUND, HEAT)
    assert pictures(page) == 2 and "10.0%" in page
    nothing = HeatMap(label="ant", score=0.1, heat=np.zeros((4, 4), dtype=np.float32))
    page = show.heat_card("a.jpg", PHOTO, FOUND, nothing)
    assert pictures(page) == 1 and "Nothing in this picture speaks for ant" in page


def test_the_legend_says_what_the_map_cannot_tell():
    page = show.legend()
    assert page.count("rgb(") == show.LEGEND_STEPS
    assert "not why" in page and "no evidence" in page and "most evidence" in page


def test_each_stage_has_a_column_of_its_own_in_order():
    page = show.stages_card("a", PHOTO, dict.fromkeys(show.STAGE_TITLES, FOUND))
    titles = re.findall("<h5>(.*?)</h5>", page)
    assert titles == ["Features only", "After warm-up", "After fine-tune"]
    assert page.count('class="best"') == 3


def test_a_tiny_picture_grows_by_whole_pixels_and_a_large_one_shrinks():
    small = show._enlarged(Image.new("RGB", (8, 8)), 160)
    assert small.size == (160, 160)
    assert show._enlarged(Image.new("RGB", (500, 250)), 160).size == (160, 80)
    assert show._enlarged(Image.new("RGB", (1, 500)), 160).size == (1, 160)
