import re
from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import picture
from transfer.inference.classifier import Answer, Prediction
from transfer.inference.grad_cam import HeatMap
from transfer.ui.predict import cards
from transfer.ui.predict.pictures import Asked

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
        cards.heat_card(EVIL, PHOTO, KNOWN, HEAT),
        cards.phases_card(EVIL, PHOTO, KNOWN, {"features": FOUND, EVIL: FOUND}),
        cards.Sheet([EVIL], note=EVIL, tabular=True).html(),
        "".join(
            cards.row(Asked(EVIL, PHOTO, KNOWN), PHOTO) + cards.row(Asked(EVIL, "", error=EVIL))
        ),
        cards.error(EVIL),
        cards.about(EVIL),
    ],
    ids=["known", "unknown", "unreadable", "heat", "phases", "sheet", "rows", "error", "about"],
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


def test_a_verdict_stands_above_the_bars_and_the_notes_unfold():
    known, unknown = (cards.prediction_card("a", PHOTO, answer) for answer in (KNOWN, UNKNOWN))
    for page, said in ((known, "Probably ant"), (unknown, "Unlike anything it was taught<small>")):
        shown, folded = page.split("<details>")
        assert said in shown and shown.index(said) < shown.index("90.0%")
        assert "nine of ten" in folded or "No class scores as high" in folded
    assert 'class="best"' in known and 'class="best"' not in unknown
    assert "is in this set: ant or" in known and "closest: ant" in unknown


def test_a_table_has_a_line_for_each_picture_from_the_start():
    sheet = cards.Sheet(["a", "b", "c"], note="Enough.", tabular=True)
    for number, asked in enumerate((Asked("a", "", KNOWN), Asked("b", "", error="no; choose"))):
        assert sheet.html().count("<tr>") == 4 and sheet.html().count("…") == 3 - number
        sheet.add(asked, "", cards.row(asked))
    assert "2 of 3 pictures are answered" in sheet.html() and "Enough." not in sheet.html()
    assert "<td>Probably ant</td><td>90.0%</td>" in sheet.html() and "Choose. No." in sheet.html()
    sheet.add(asked, "", cards.row(asked))
    assert "Enough." in sheet.html() and 'data-said="3 of 3 pictures"' in sheet.html()
