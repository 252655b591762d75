import re
from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import picture
from transfer.inference.classifier import Answer, Prediction
from transfer.inference.grad_cam import HeatMap
from transfer.ui.predict import cards

PHOTO = picture(0, 0)
EVIL = "<script>alert(1)</script>"
FOUND = [Prediction(label="ant", score=0.9), Prediction(label=EVIL, score=0.1)]
KNOWN = Answer(predictions=FOUND, set=("ant", EVIL), familiarity=0.4, known=True)
UNKNOWN = replace(KNOWN, set=(), familiarity=0.01, known=False)
HEAT = HeatMap(label=EVIL, score=0.1, heat=np.eye(4, dtype=np.float32))


@pytest.mark.parametrize(
    "page",
    [
        cards.prediction_card(EVIL, PHOTO, KNOWN),
        cards.prediction_card(EVIL, PHOTO, UNKNOWN),
        cards.unreadable_card(EVIL, EVIL),
        cards.heat_card(EVIL, PHOTO, FOUND, HEAT),
        cards.phases_card(EVIL, PHOTO, {"features": FOUND, EVIL: FOUND}),
        cards.page([], note=EVIL),
        cards.error(EVIL),
        cards.about(EVIL),
    ],
    ids=["known", "unknown", "unreadable", "heat", "phases", "note", "error", "about"],
)
def test_names_are_escaped(page):
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_best_class_is_first_and_a_long_label_is_cut():
    label = "x" * 10_000
    answer = Answer(predictions=[Prediction(label=label, score=0.9), FOUND[1]])
    page = cards.prediction_card("a.jpg", PHOTO, answer)
    assert page.count('src="data:image/webp;base64,') == 1 and 'alt="a.jpg"' in page
    assert re.findall(r'class="best".*?title="(.*?)"', page) == ["x" * 79 + "…"]
    assert re.findall(r"width:(.*?)%", page) == ["90.0", "10.0"]


def test_a_picture_of_something_else_is_not_called_a_class():
    known, unknown = (cards.prediction_card("a", PHOTO, answer) for answer in (KNOWN, UNKNOWN))
    shown, folded = unknown.split("<details>")
    assert cards.UNKNOWN in shown and "90.0%" not in shown and "90.0%" in folded
    assert cards.UNKNOWN not in known and "90.0%" in known.split("<details>")[0]
    assert "is in this set: ant or" in known and "No class scores as high" in unknown


@pytest.mark.parametrize(
    ("score", "shown"),
    [(1.0, "100.0%"), (0.9996, "> 99.9%"), (0.999, "99.9%"), (0.0001, "< 0.1%"), (0.0, "0.0%")],
)
def test_no_percentage_is_more_certain_than_the_score(score, shown):
    assert cards.percent(score) == shown
