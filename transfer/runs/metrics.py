"""Scores and labels → the report."""

import numpy as np

MISTAKES_SHOWN = 50
CONFIDENCE = 0.95


def accuracy_of(scores: np.ndarray, labels: np.ndarray) -> dict:
    """{"accuracy": share, "interval": Wilson's 95 % interval, "images": M} (Wilson 1927)."""
    from scipy.stats import binomtest

    right = int((scores.argmax(axis=1) == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "accuracy": right / len(labels),
        "interval": [float(interval.low), float(interval.high)],
        "images": len(labels),
    }


def make_report(
    scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...], classes: tuple[str, ...]
) -> dict:
    """Accuracy, figures per class, confusion matrix (rows: truth), most confident mistakes and
    how many there are in all.

    `scores` float (M, classes), `labels` int (M,), `names` M files or rows.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted, every = scores.argmax(axis=1), list(range(len(classes)))
    figures = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    names_of_figures = ("precision", "recall", "f1", "support")
    rows = zip(classes, *(figure.tolist() for figure in figures), strict=True)
    per_class = [
        {"label": label} | dict(zip(names_of_figures, row, strict=True)) for label, *row in rows
    ]
    confidence = scores.max(axis=1)
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
    return accuracy_of(scores, labels) | {
        "classes": per_class,
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
        "mistakes": mistakes,
        "mistakes_total": mistakes_total,
    }
