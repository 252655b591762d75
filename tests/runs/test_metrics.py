import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny import held
from transfer.runs.metrics import MISTAKES_SHOWN, accuracy_of, make_report
from transfer.training.step import predict

CLASSES = ("ant", "bee", "wasp")
SCORES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.05, 0.9, 0.05]])
LABELS = np.array([0, 1, 1, 0])
NAMES = ("a.png", "b.png", "c.png", "d.png")


class Echo(nn.Module):
    """Logits are what is stored."""

    def forward(self, stored):
        assert not self.training
        return stored


def test_scores_are_the_softmax_of_the_plain_views_of_readable_rows():
    logits = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([row for row in range(40) if row != 5])
    scores = predict(Echo().train(), held(logits, torch.zeros(39), rows=rows, random_views=True))
    assert scores.dtype == np.float32 and scores.shape == (39, 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(scores, logits[0, rows].softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("right", "of", "interval"),
    [(8, 10, [0.4902, 0.9433]), (10, 10, [0.7225, 1.0]), (0, 10, [0.0, 0.2775])],
)
def test_accuracy_comes_with_wilson_s_interval(right, of, interval):
    scores = np.eye(2)[[0] * right + [1] * (of - right)]
    judged = accuracy_of(scores, np.zeros(of, dtype=int))
    assert judged["accuracy"] == right / of and judged["images"] == of
    assert judged["interval"] == pytest.approx(interval, abs=1e-4)


def test_a_report_s_figures_are_those_done_by_hand():
    report = make_report(SCORES, LABELS, NAMES, CLASSES)
    assert report["accuracy"] == 0.5 and report["images"] == 4
    assert report["confusion"] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    half = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    none = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert report["classes"] == [
        {"label": "ant"} | half,
        {"label": "bee"} | half,
        {"label": "wasp"} | none,
    ]


def test_confusion_has_the_truth_in_rows():
    scores = np.eye(3)[[2, 2, 0]]
    report = make_report(scores, np.array([0, 0, 1]), ("a", "b", "c"), CLASSES)
    assert report["confusion"] == [[0, 0, 2], [1, 0, 0], [0, 0, 0]]


def test_mistakes_come_most_confident_first():
    assert make_report(SCORES, LABELS, NAMES, CLASSES)["mistakes"] == [
        {"name": "d.png", "label": "ant", "predicted": "bee", "score": 0.9},
        {"name": "c.png", "label": "bee", "predicted": "ant", "score": 0.6},
    ]


def test_only_so_many_mistakes_are_shown():
    scores = np.eye(3)[[1] * 80]
    report = make_report(scores, np.zeros(80, dtype=int), tuple(map(str, range(80))), CLASSES)
    assert len(report["mistakes"]) == MISTAKES_SHOWN < 80
