import numpy as np
import pytest

from transfer.runs.metrics import MISTAKES_SHOWN, accuracy_of, make_report

CLASSES = ("ant", "bee", "wasp")
SCORES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.05, 0.9, 0.05]])
LABELS = np.array([0, 1, 1, 0])
NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.mark.parametrize(("right", "interval"), [(8, [0.4902, 0.9433]), (10, [0.7225, 1.0])])
def test_accuracy_has_wilsons_interval(right, interval):
    judged = accuracy_of(np.arange(10) >= right, np.zeros(10, dtype=int))
    assert judged["accuracy"] == right / 10 and judged["images"] == 10
    assert judged["interval"] == pytest.approx(interval, abs=1e-4)


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur(recwarn):
    labels, predicted = np.array([0] * 8 + [1] * 2), np.array([0] * 8 + [1, 2])
    assert accuracy_of(predicted, labels)["balanced_accuracy"] == 0.75
    report = make_report(predicted, np.ones(10), labels, tuple("abcdefghij"), CLASSES)
    assert (report["accuracy"], report["balanced_accuracy"], report["uneven"]) == (0.9, 0.75, True)
    assert not recwarn.list


def test_the_figures_of_a_report_are_those_computed_by_hand():
    report = make_report(SCORES.argmax(1), SCORES.max(1), LABELS, NAMES, CLASSES)
    assert report["uneven"] is False
    assert report["accuracy"] == 0.5 and report["images"] == 4
    assert report["confusion"] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    half = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    none = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert report["classes"] == [
        {"label": "ant"} | half,
        {"label": "bee"} | half,
        {"label": "wasp"} | none,
    ]
    assert report["mistakes"] == [
        {"name": "d.png", "label": "ant", "predicted": "bee", "score": 0.9},
        {"name": "c.png", "label": "bee", "predicted": "ant", "score": 0.6},
    ]


def test_the_number_of_mistakes_is_limited():
    predicted, labels = np.full(80, 2), np.zeros(80, dtype=int)
    report = make_report(predicted, np.ones(80), labels, tuple(map(str, range(80))), CLASSES)
    assert len(report["mistakes"]) == MISTAKES_SHOWN < 80 == report["mistakes_total"]
    assert report["confusion"][0] == [0, 0, 80], "the truth is in the rows"
