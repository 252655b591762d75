"""Out-of-fold predictions: each image is judged by a logistic regression that has not seen it."""

import numpy as np
import torch

from transfer.features.cached_dataset import CachedDataset
from transfer.features.linear_probe import IMAGES_A_BATCH, MAX_ITERATIONS, TOLERANCE


def plain_features(cached: CachedDataset) -> np.ndarray:
    """The plain view of each image, averaged over its map: float32 (N, channels)."""
    batches = cached.rows.split(IMAGES_A_BATCH)
    return torch.cat([cached.inputs[0, rows].float().mean(dim=(2, 3)) for rows in batches]).numpy()


def out_of_fold(x: np.ndarray, y: np.ndarray, folds: list[tuple], strength: float) -> np.ndarray:
    """Each image's probabilities, by a fit on the other folds: float64 (N, classes).

    `x` is float32 (N, width), `y` int64 (N,) with all of 0 … classes - 1, `folds` as
    `stratified_folds` gives them. NaN where an image is in no fold that is judged.
    """
    found = np.full((len(y), y.max() + 1), np.nan)
    for fitted, held in folds:
        found[held] = probabilities(x[fitted], y[fitted], x[held], strength, found.shape[1])
    return found


def probabilities(
    x: np.ndarray, y: np.ndarray, judged: np.ndarray, strength: float, classes: int
) -> np.ndarray:
    """Of the images `judged`, float32 (M, width), by a fit on `x` and `y`: float64 (M, classes).

    Call it on one thread (`one_blas_thread`), which is much faster beside other work.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS, tol=TOLERANCE).fit(x, y)
    found = np.zeros((len(judged), classes))
    found[:, model.classes_] = model.predict_proba(judged)
    return found
