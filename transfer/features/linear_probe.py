"""Feature extraction: a linear classifier fitted on the frozen body's features."""

from collections.abc import Iterator

import numpy as np
import torch

from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head

# scikit-learn's C, the inverse of the L2 regularisation
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
MAX_ITERATIONS = 1000
TOLERANCE = 1e-3
IMAGES_A_BATCH = 256


def fit_linear(
    head: Head, features: dict[str, CachedDataset], seed: int, *, balanced: bool = False
) -> float:
    """Fit scikit-learn's logistic regression, copy it into a head without hidden layers.

    C is the one with the best validation score, the smaller one of equals. Only plain views are
    used: an upload looks like them. With `balanced` every class has the same weight. Returns the
    accuracy on the validation images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils.class_weight import compute_sample_weight

    head.standardise(pooled(head, features["train"]))
    # x float32 (M, width), y int64 (M,): M readable training images
    x, y = standardised(head, features["train"]), features["train"].labels.numpy()
    held_out = standardised(head, features["validation"])
    labels = features["validation"].labels.numpy()
    best_score, accuracy = -1.0, 0.0
    weights = compute_sample_weight("balanced" if balanced else None, labels)
    # from strong to weak regularisation, each fit starts from the weights of the one before
    model = LogisticRegression(
        class_weight="balanced" if balanced else None,
        max_iter=MAX_ITERATIONS,
        tol=TOLERANCE,
        warm_start=True,
        random_state=seed,
    )
    for strength in STRENGTHS:
        right = model.set_params(C=strength).fit(x, y).predict(held_out) == labels
        if (score := np.average(right, weights=weights)) > best_score:
            best_score, accuracy = score, right.mean()
            _copy_into(head.layers[-1], model)
    return float(accuracy)


def pooled(head: Head, cached: CachedDataset) -> Iterator[torch.Tensor]:
    """The plain views, pooled by the head: batches of float32 (N, width)."""
    for rows in cached.rows.split(IMAGES_A_BATCH):
        yield head.pool(cached.inputs[0, rows])


def standardised(head: Head, cached: CachedDataset) -> np.ndarray:
    """The plain views as the head's layers see them: float32 (M, width)."""
    return np.concatenate(
        [((batch - head.mean) * head.scale).numpy() for batch in pooled(head, cached)]
    )


@torch.no_grad()
def _copy_into(layer: torch.nn.Linear, model) -> None:
    """For two classes scikit-learn has one row: the difference of the two logits."""
    weight, bias = model.coef_, model.intercept_  # (classes or 1, width), (classes or 1,)
    if len(weight) == 1:
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))
