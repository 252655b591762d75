import numpy as np
import pytest

from transfer.features.label_review import estimated_wrong, review_labels, suspects
from transfer.runs.familiarity import directions

WRONG = {3: 1, 25: 0, 47: 0}  # image → the class it is labelled as; their own are 0, 1, 2


@pytest.fixture
def labelled_wrong():
    """(features (60, 8) of three classes, labels of which those of WRONG are not true)."""
    random, y = np.random.default_rng(0), np.arange(60) // 20
    x = random.random((60, 8)).astype(np.float32)
    x[np.arange(60), y] += 3
    y[list(WRONG)] = list(WRONG.values())
    return directions(x), y


def test_planted_labels_are_first_and_their_true_class_is_suggested(labelled_wrong):
    x, y = labelled_wrong
    found = review_labels(x, y, x, y, seed=0)
    assert {one.row: one.likely for one in found.suspects} == {3: 0, 25: 1, 47: 2}
    assert [one.score for one in found.suspects] == sorted(
        (one.score for one in found.suspects), reverse=True
    )
    assert all(0 < one.score <= 1 for one in found.suspects)
    assert found.estimated_wrong in (3, 4)


def test_test_labels_are_judged_by_the_other_images(labelled_wrong):
    x, y = labelled_wrong
    right = np.arange(60) // 20
    found = review_labels(x, right, x[1::2], y[1::2], seed=0)
    assert found.suspects == [] and found.estimated_wrong == 0
    assert {one.row: one.likely for one in found.test_suspects} == {1: 0, 12: 1, 23: 2}


def test_only_images_that_another_class_fits_better_are_suspects():
    p = np.array([[0.6, 0.4], [0.4, 0.6], [0.1, 0.9], [np.nan, np.nan], [0.2, 0.8]])
    found = suspects(p, np.array([0, 0, 0, 0, 1]))
    assert [(one.row, one.likely) for one in found] == [(2, 1), (1, 1)]
    assert found[0].score == pytest.approx(0.8)


def test_the_estimate_scales_the_confident_joint_to_the_labels():
    """Of label 0 the typical probability is 0.5, of label 1 0.8: only 0 and 2 count."""
    p = np.array([[0.9, 0.1], [0.45, 0.55], [0.15, 0.85], [0.2, 0.8]])
    assert estimated_wrong(p, np.array([0, 0, 0, 1])) == round(3 * 1 / 2)
