import re

import pytest

from transfer.training.learning_curve import LearningCurve
from transfer.ui.runs.learning_curve import curve_report

POINTS = [
    {"images": n, "accuracy": a, "low": a - 0.03, "high": min(1.0, a + 0.03)}
    for n, a in ((30, 0.9), (60, 0.94), (120, 0.96))
]
CLASSES = [
    {"label": "<b>", "images": 40, "more": 20, "gain": 0.02, "low": 0.01, "high": 0.04},
    {"label": "bees", "images": 40, "more": 20, "gain": 0.0, "low": -0.01, "high": 0.01},
]


def curve(**change) -> LearningCurve:
    gain = {"gain": 0.012, "low": -0.02, "high": 0.04, "expected": [0.004, 0.02]}
    return LearningCurve(
        **{"points": POINTS, "doubled": gain, "classes": CLASSES, "images": 120} | change
    )


def test_it_says_what_twice_as_many_give_and_which_class_gains():
    page = curve_report(curve())
    assert "(240): <b>+1.2 points</b>" in page and "+0.4 to +2.0 points with 95 %" in page
    assert "20 more of <b>&lt;b&gt;</b>: +1.0 to +4.0 points" in page and "bees" not in page
    assert "No single class" in curve_report(curve(classes=CLASSES[1:]))


def test_the_line_rises_with_the_accuracy_and_goes_on_to_twice_as_many():
    known, ahead = re.findall(r'class="line .*?points="(.*?)"', curve_report(curve()))
    xs, ys = zip(*(map(float, point.split(",")) for point in known.split()), strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2), (
        "a doubling is as wide as another"
    )
    assert list(ys) == sorted(ys, reverse=True)
    start, end = ahead.split()
    assert start == known.split()[-1] and float(end.split(",")[1]) < ys[-1]
