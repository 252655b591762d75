"""Labels that the other images contradict: confident learning (Northcutt et al. 2021)."""

from dataclasses import dataclass

import numpy as np

from transfer.data.splits import stratified_folds
from transfer.features.linear_probe import one_blas_thread
from transfer.features.out_of_fold import out_of_fold, probabilities

FOLDS = 5
STRENGTH = 10.0  # scikit-learn's C: less trusts a label less, and finds more of the wrong ones


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """Image `row` is labelled as one class and is more likely `likely`, another one.

    `score` from 0 to 1 is how much more likely: its probability less that of the given label.
    """

    row: int
    likely: int
    score: float


@dataclass(frozen=True, kw_only=True)
class LabelReview:
    """Suspects, most suspicious first: of the images that are learned from, and of the test images.

    `estimated_wrong` of the former are likely to be labelled wrong.
    """

    suspects: list[Suspect]
    test_suspects: list[Suspect]
    estimated_wrong: int


@one_blas_thread()
def review_labels(
    x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, seed: int
) -> LabelReview:
    """Judge each label by a fit on other images.

    `x` float32 (N, channels) are the features of the images that are learned from, as `directions`
    makes them, `y` int64 (N,) their labels; `test_x` and `test_y` those of the test images, on
    which nothing is fitted.
    """
    folds = stratified_folds(y, FOLDS, seed)
    found = out_of_fold(x, y, folds, STRENGTH)
    tested = probabilities(x, y, test_x, STRENGTH, found.shape[1])
    return LabelReview(
        suspects=suspects(found, y),
        test_suspects=suspects(tested, test_y),
        estimated_wrong=estimated_wrong(found, y),
    )


def suspects(p: np.ndarray, y: np.ndarray) -> list[Suspect]:
    """The images of which another class is more likely than the label, most suspicious first.

    `p` float (N, classes), NaN where an image is not judged; `y` int64 (N,). They are ranked by the
    margin of the given label (Northcutt et al. 2021, section 4).
    """
    likely, score = p.argmax(axis=1), p.max(axis=1) - p[np.arange(len(y)), y]
    rows = np.flatnonzero(score > 0)
    return [
        Suspect(row=int(row), likely=int(likely[row]), score=float(score[row]))
        for row in rows[np.argsort(-score[rows], kind="stable")]
    ]


def estimated_wrong(p: np.ndarray, y: np.ndarray) -> int:
    """How many labels are likely wrong: what is off the diagonal of the confident joint.

    An image counts as a class of which it is as likely as the images with that label are on average
    (Northcutt et al. 2021, section 3.1); each label's counts are scaled to its number of images.
    """
    judged = ~np.isnan(p).any(axis=1)
    p, y = p[judged], y[judged]
    classes = p.shape[1]
    numbers = np.bincount(y, minlength=classes)
    typical = np.array([p[y == j, j].mean() if numbers[j] else 1.0 for j in range(classes)])
    confident = p >= typical
    counted = confident.any(axis=1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (y[counted], np.where(confident, p, -1).argmax(axis=1)[counted]), 1)
    share_right = np.diag(joint) / np.maximum(joint.sum(axis=1), 1)
    known = joint.sum(axis=1) > 0
    return round(float((numbers * (1 - share_right))[known].sum()))
