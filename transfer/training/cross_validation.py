"""The linear head's accuracy by cross-validation: few validation images alone say little."""

from collections.abc import Iterator

import numpy as np

from transfer.data.splits import stratified_folds, stratified_rows
from transfer.events import CrossValidated
from transfer.features.cached_dataset import CachedDataset
from transfer.features.linear_probe import MOST_FITTED, cross_validated, pooled, standardised
from transfer.machine.processes import from_main_process
from transfer.model.vgg import Head
from transfer.runs.metrics import accuracy_of
from transfer.settings import LINEAR_HEAD
from transfer.training.state import TrainingState

FOLDS, FEW_VALIDATION_IMAGES = 5, 100


def cross_validate(training: TrainingState) -> Iterator[CrossValidated]:
    """Judge the linear head on all training and validation images, each by a fit on the others.

    Returns what it adds to report.json: nothing where neither settings nor few validation images
    ask for it, or where every class has a single image. Other heads and fine-tune would have to be
    trained once a fold, so they are judged on the split alone.
    """
    folds = training.settings.folds
    if folds is None and len(training.features["validation"]) < FEW_VALIDATION_IMAGES:
        folds = FOLDS
    found = from_main_process(lambda: _judged(training, folds)) if folds else None
    if not found:
        return {}
    yield CrossValidated(**found)
    return {"cross_validation": found}


def _judged(training: TrainingState, folds: int) -> dict | None:
    """The fields of CrossValidated; C is the one that the linear probe has chosen."""
    parts = [training.features[name] for name in ("train", "validation")]
    labels = np.concatenate([part.labels.numpy() for part in parts])
    rows = stratified_rows(labels, MOST_FITTED, training.settings.seed)
    judged = stratified_folds(labels[rows], folds, training.settings.seed)
    if not judged:
        return None
    x, strength = _standardised(parts)[rows], training.history.strength
    found = cross_validated(x, labels[rows], judged, training.class_weights, (strength,))
    hits = found[strength].hits.numpy()
    found = accuracy_of(hits, np.ones_like(hits))  # right is what is expected everywhere
    return {"folds": folds} | {name: found[name] for name in ("accuracy", "interval", "images")}


def _standardised(parts: list[CachedDataset]) -> np.ndarray:
    """Pooled plain views of all parts, as a linear head sees them: float32 (N, channels)."""
    _, _, channels, side, _ = parts[0].inputs.shape
    head = Head(LINEAR_HEAD, channels, side, classes=1)
    head.standardise(batch for part in parts for batch in pooled(head, part))
    return np.concatenate([standardised(head, part) for part in parts])
