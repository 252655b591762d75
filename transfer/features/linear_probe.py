"""Feature extraction: a linear classifier fitted on the frozen body's features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from transfer.data.splits import folds, stratified_rows
from transfer.features.cached_dataset import CachedDataset
from transfer.features.validation import Judged, Validation
from transfer.model.vgg import Head

# scikit-learn's C, the inverse of the L2 regularisation
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
MAX_ITERATIONS = 5_000
TOLERANCE = 1e-4
MOST_FITTED = 20_000  # images; warm-up goes on from there with all of them
IMAGES_A_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """The C that was chosen, how the fitted head does on the validation images, and how fits with
    that C do on the images that their folds leave out."""

    strength: float
    validation: Validation
    out_of_fold: Validation


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """For numpy's and scikit-learn's matrices, as `one_thread` is for torch's."""
    import sklearn.linear_model  # noqa: F401  what is loaded later would not be limited

    with threadpool_limits(limits=1):
        yield


@one_blas_thread()
def fit_linear(
    head: Head,
    features: dict[str, CachedDataset],
    seed: int,
    class_weights: torch.Tensor | None = None,
) -> LinearFit:
    """Fit scikit-learn's logistic regression, copy it into a head without hidden layers.

    C is the one of the least loss on the images that `folds` judge; the fit that is copied is on
    training images only, at most MOST_FITTED of them. Only plain views are used: an upload looks
    like them. `class_weights`, float32 (classes,), weight the images.
    """
    train, validation = features["train"], features["validation"]
    head.standardise(pooled(head, train))
    rows = stratified_rows(train.labels.numpy(), MOST_FITTED, seed)
    x, y = standardised(head, train, rows), train.labels[rows].numpy()
    held, labels = standardised(head, validation), validation.labels.numpy()
    found = cross_validated(
        np.concatenate([x, held]),
        np.concatenate([y, labels]),
        folds(y, labels, seed),
        class_weights,
    )
    best = min(found, key=lambda strength: found[strength].loss)
    model = _model(class_weights).set_params(C=best).fit(x, y)
    _copy(model, head)
    judged = Validation.joined([_judge(model, held, labels)], class_weights)
    return LinearFit(strength=best, validation=judged, out_of_fold=found[best])


@one_blas_thread()
def fit_at_once(head: Head, features: torch.Tensor, labels: np.ndarray, strength: float) -> None:
    """Fit a head without hidden layers with a given C, all classes counting the same.

    `features` are pooled, float32 (N, width), `labels` int64 (N,), each class at least once.
    """
    head.standardise([features])
    counts = np.bincount(labels)
    weights = torch.from_numpy(len(labels) / (len(counts) * counts))
    x = ((features - head.mean) * head.scale).numpy()
    _copy(_model(weights).set_params(C=strength).fit(x, labels), head)


@one_blas_thread()
def cross_validated(
    x: np.ndarray,
    y: np.ndarray,
    judged: list[tuple],
    class_weights: torch.Tensor | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> dict[float, Validation]:
    """C → how fits on the one part of each fold do on the other.

    `x` float32 (N, width) is standardised, `y` int64 (N,), `judged` as `folds` gives it.
    """
    parts: dict[float, list] = {strength: [] for strength in strengths}
    for fitted, held in judged:
        model = _model(class_weights)
        # from strong to weak regularisation, each fit starts from the weights of the one before
        for strength in strengths:
            model.set_params(C=strength).fit(x[fitted], y[fitted])
            parts[strength].append(_judge(model, x[held], y[held]))
    return {s: Validation.joined(found, class_weights) for s, found in parts.items()}


def _model(class_weights: torch.Tensor | None):
    from sklearn.linear_model import LogisticRegression

    weights = None if class_weights is None else dict(enumerate(class_weights.tolist()))
    return LogisticRegression(
        class_weight=weights, max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True
    )


def _judge(model, x: np.ndarray, y: np.ndarray) -> Judged:
    """A fitted model on `x` float32 (N, width) and `y` int64 (N,)."""
    weight, bias = _layer(model)
    return Judged.of(torch.from_numpy(x) @ weight.T + bias, torch.from_numpy(y))


def pooled(
    head: Head, cached: CachedDataset, rows: np.ndarray | None = None
) -> Iterator[torch.Tensor]:
    """The plain views of these of the readable images, else of all, pooled by the head: batches of
    float32 (N, width)."""
    chosen = cached.rows if rows is None else cached.rows[rows]
    for batch in chosen.split(IMAGES_A_BATCH):
        yield head.pool(cached.inputs[0, batch])


def standardised(head: Head, cached: CachedDataset, rows: np.ndarray | None = None) -> np.ndarray:
    """The plain views as the head's layers see them: float32 (M, width)."""
    found = np.empty((len(cached if rows is None else rows), len(head.mean)), dtype=np.float32)
    done = 0
    for batch in pooled(head, cached, rows):
        found[done : done + len(batch)] = (batch - head.mean) * head.scale
        done += len(batch)
    return found


@torch.no_grad()
def _copy(model, head: Head) -> None:
    weight, bias = _layer(model)
    head.layers[-1].weight.copy_(weight)
    head.layers[-1].bias.copy_(bias)


def _layer(model) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (classes, width), bias (classes,)), float32. For two classes scikit-learn has one
    row: the difference of the two logits."""
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
