"""Scores and labels → the report."""

import numpy as np

from transfer.data.dataset import uneven

MISTAKES_SHOWN = 50
CONFIDENCE = 0.95
BINS = 10  # of a reliability diagram


def accuracy_of(predicted: np.ndarray, labels: np.ndarray) -> dict:
    """{"accuracy": share, "interval": Wilson's 95 % interval, "images": M} (Wilson 1927), and the
    "balanced_accuracy", the mean recall of the classes that occur in `labels`; both int (M,)."""
    from scipy.stats import binomtest
    from sklearn.metrics import recall_score

    right = int((predicted == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "accuracy": right / len(labels),
        # scikit-learn's balanced_accuracy_score is the same, but warns of classes never met
        "balanced_accuracy": float(
            recall_score(labels, predicted, labels=np.unique(labels), average="macro")
        ),
        "interval": [float(interval.low), float(interval.high)],
        "images": len(labels),
    }


def make_report(
    predicted: np.ndarray,
    confidence: np.ndarray,
    labels: np.ndarray,
    names: tuple[str, ...],
    classes: tuple[str, ...],
) -> dict:
    """Accuracy, figures per class, confusion matrix (rows: truth), most confident mistakes and
    how many there are in all.

    `predicted` int (M,) and their scores `confidence` float (M,), `labels` int (M,), `names` M
    files or rows. "uneven" says that classes differ in size so much that the balanced accuracy
    should be shown.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    every = list(range(len(classes)))
    figures = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    names_of_figures = ("precision", "recall", "f1", "support")
    rows = zip(classes, *(figure.tolist() for figure in figures), strict=True)
    per_class = [
        {"label": label} | dict(zip(names_of_figures, row, strict=True)) for label, *row in rows
    ]
    wrong = np.flatnonzero(predicted != labels)
    mistakes_total = len(wrong)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_SHOWN]
    mistakes = [
        {
            "name": names[i],
            "label": classes[labels[i]],
            "predicted": classes[predicted[i]],
            "score": float(confidence[i]),
        }
        for i in wrong
    ]
    return accuracy_of(predicted, labels) | {
        "uneven": uneven(np.unique(labels, return_counts=True)[1]),
        "classes": per_class,
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
        "mistakes": mistakes,
        "mistakes_total": mistakes_total,
    }


def reliability(confidence: np.ndarray, hits: np.ndarray) -> dict:
    """{"error": the expected calibration error, "bins": [{"images", "confidence", "accuracy"}]}.

    `confidence` float (M,) are the scores of the predicted classes, `hits` bool (M,) whether they
    are right. A bin is a tenth of all scores wide; the error is the mean distance between its
    confidence and its accuracy, weighted by its images (Naeini et al. 2015). Empty bins are left
    out.
    """
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [
        {
            "images": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(hits[inside].mean()),
        }
        for inside in (number == i for i in np.unique(number))
    ]
    distances = [b["images"] * abs(b["confidence"] - b["accuracy"]) for b in bins]
    return {"error": sum(distances) / len(hits), "bins": bins}


def set_report(covered: np.ndarray, sizes: np.ndarray) -> dict:
    """{"covered": share of images whose class is in their set, "size": mean number of classes in
    it, "empty": share of sets without one}, from whether it is, bool (M,), and sizes, int (M,)."""
    return {
        "covered": float(covered.mean()),
        "size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
    }
