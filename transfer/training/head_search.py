"""Head search: on cached features a head trains in about a second, so several are tried.

First shapes, then dropout, learning rate and optimizer of the best one. A challenger replaces the
best head so far only if its validation loss is lower by more than chance (`Validation.beats`),
because the best of many is partly lucky. The last one must in the same way beat the linear
classifier that was fitted on the same features, and be right more often: a lower loss alone may
only be a better guess of how sure to be. If it does not, warm-up goes on from the fit. Test images
take no part.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import torch

from transfer.data.splits import folds, stratified_rows
from transfer.events import HeadChosen, HeadTried
from transfer.features.cached_dataset import CachedDataset
from transfer.features.linear_probe import cross_validated
from transfer.features.validation import Judged, Validation
from transfer.machine.device import one_thread
from transfer.model.vgg import Head, parameter_count
from transfer.settings import LINEAR_HEAD, HeadSettings, PhaseSettings
from transfer.training.defaults import (
    HEAD_DROPOUTS,
    HEAD_LEARNING_RATES,
    HEAD_OPTIMIZERS,
    LINEAR_RATE,
    head_shapes,
    learning_rate,
    trial_batch_size,
    trial_epochs,
    trial_images,
)
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.step import smoothed_loss

TRIAL_VALIDATION_IMAGES = 1_000
LARGEST_FLATTENED = 8_192  # values; a wider first layer would take longer than all other trials


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A head, and how it is warmed up."""

    head: HeadSettings
    warm_up: PhaseSettings


@dataclass(frozen=True, kw_only=True)
class Trial:
    candidate: Candidate
    validation: Validation
    event: HeadTried


@dataclass(frozen=True, kw_only=True)
class TrialData:
    """Features float (V, N, C, H, W) in memory and labels int64 (N,), of training and validation.

    Of validation images all views are the plain one. `folds` are rows to fit and rows to judge;
    `class_weights` float32 (classes,) weight every loss, if given.
    """

    features: torch.Tensor
    labels: torch.Tensor
    folds: list[tuple[torch.Tensor, torch.Tensor]]
    class_weights: torch.Tensor | None = None

    @property
    def judged_weights(self) -> torch.Tensor | None:
        """Float32 (M,): what each judged image counts, in the order of a trial's validation."""
        if self.class_weights is None:
            return None
        return self.class_weights[self.labels[torch.cat([held for _, held in self.folds])]]


def try_heads(
    first: Candidate,
    strength: float,
    features: dict[str, CachedDataset],
    make_head: Callable[[HeadSettings], Head],
    *,
    seed: int,
    vary: Collection[str] = (),
    class_weights: torch.Tensor | None = None,
) -> Iterator[HeadTried | HeadChosen]:
    """Yields HeadTried…, HeadChosen; returns (the best Candidate, HeadChosen).

    `strength` is scikit-learn's C of the linear classifier. `vary` may name `learning_rate` and
    `optimizer`; shape and dropout are always varied.
    """
    started = time.monotonic()
    data = _trial_data(features, seed, class_weights)
    linear = _linear_trial(first, make_head, data, strength)
    yield linear.event
    best = _try(first, make_head, data, seed)
    yield best.event
    trials = [linear, best]
    shapes = head_shapes(make_head(first.head).layers[-1].out_features)
    if math.prod(features["train"].inputs.shape[2:]) > LARGEST_FLATTENED:
        shapes = [shape for shape in shapes if shape.pooling != "flatten"]
    for part, changes in _rounds(shapes, vary):
        known, tried = best.candidate, []
        for change in changes:
            candidate = replace(known, **{part: replace(getattr(known, part), **change)})
            if candidate != known:
                tried.append(_try(candidate, make_head, data, seed))
                yield tried[-1].event
        trials += tried
        strongest = min(tried, key=lambda trial: trial.validation.loss)
        best = strongest if strongest.validation.beats(best.validation, len(tried)) else best
    why = "it beat the linear classifier by more than chance"
    fit = linear.validation
    if not (
        best.validation.beats(fit) and best.validation.right_more_often(fit, data.judged_weights)
    ):
        best, why = linear, "no head beat the fitted linear classifier by more than chance"
    chosen = HeadChosen(
        head=best.candidate.head.name,
        tried=[vars(trial.event) | {"chosen": trial is best} for trial in trials],
        seconds=time.monotonic() - started,
        why=why,
    )
    yield chosen
    return best.candidate, chosen


def _rounds(shapes: list[HeadSettings], vary: Collection[str]) -> Iterator[tuple[str, list[dict]]]:
    """(field of Candidate, changes to it) of each round; what the best one has is left out."""
    yield "head", [{"pooling": head.pooling, "hidden": head.hidden} for head in shapes]
    yield "head", [{"dropout": dropout} for dropout in HEAD_DROPOUTS]
    if "learning_rate" in vary:
        yield "warm_up", [{"learning_rate": rate} for rate in HEAD_LEARNING_RATES]
    if "optimizer" in vary:
        rates = ((name, learning_rate("warm-up", name)) for name in HEAD_OPTIMIZERS)
        yield "warm_up", [{"optimizer": name, "learning_rate": rate} for name, rate in rates]


def _trial_data(
    features: dict[str, CachedDataset], seed: int, class_weights: torch.Tensor | None
) -> TrialData:
    """A stratified sample of training and validation images."""
    train, validation = features["train"], features["validation"]
    classes = len(train.labels.unique())
    rows = stratified_rows(train.labels.numpy(), trial_images(train.views, classes), seed)
    held = stratified_rows(validation.labels.numpy(), TRIAL_VALIDATION_IMAGES, seed)
    plain = validation.inputs[0, validation.rows[held]]
    views = [train.inputs[view, train.rows[rows]] for view in range(train.views)]
    labels = train.labels[rows], validation.labels[held]
    judged = folds(*(part.numpy() for part in labels), seed)
    return TrialData(
        features=torch.stack([torch.cat([view, plain.to(view.dtype)]) for view in views]),
        labels=torch.cat(labels),
        folds=[tuple(map(torch.from_numpy, fold)) for fold in judged],
        class_weights=class_weights,
    )


@one_thread()
def _try(candidate: Candidate, make_head: Callable, data: TrialData, seed: int) -> Trial:
    """Warm up one head on each fold, for fewer epochs than the real warm-up."""
    started = time.monotonic()
    head = make_head(candidate.head)
    x = _pooled(head, data.features)  # (V, N, width)
    judged = []
    for fitted, held in data.folds:
        head = make_head(candidate.head)
        _train(head, candidate.warm_up, x[:, fitted], data.labels[fitted], data.class_weights, seed)
        with torch.no_grad():
            logits, labels = head.scores(x[0, held]), data.labels[held]  # (n, classes), (n,)
        judged.append(Judged.of(logits, labels))
    validation = Validation.joined(judged, data.class_weights)
    return _trial(candidate, head, validation, started)


def _train(head: Head, phase: PhaseSettings, x, y, class_weights, seed: int) -> None:
    """`x` float (V, n, width), `y` int64 (n,): a random view of each image in each epoch."""
    head.standardise([x[0]])  # of the plain views
    groups = [{"params": list(head.parameters()), "lr": phase.learning_rate}]
    optimizer = make_optimizer(phase.optimizer, groups, phase.weight_decay)
    size = trial_batch_size(len(y))
    batches = math.ceil(len(y) / size)
    epochs = trial_epochs(phase.epochs)
    schedule = make_schedule(optimizer, epochs * batches)
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            for batch, rows in enumerate(torch.randperm(len(y)).split(size)):
                schedule.step_update(epoch * batches + batch)
                views = torch.randint(len(x), rows.shape)  # one for each image
                logits = head.scores(x[views, rows])  # (B, width) → (B, classes)
                smoothed_loss(logits, y[rows], class_weights).backward()
                optimizer.step()
                optimizer.zero_grad()
    head.eval()


def _linear_trial(first: Candidate, make_head: Callable, data: TrialData, strength: float) -> Trial:
    """The linear classifier on the same folds, which warm-up trains at a small rate."""
    started = time.monotonic()
    rate = LINEAR_RATE * first.warm_up.learning_rate
    warm_up = replace(first.warm_up, learning_rate=rate)
    head = make_head(LINEAR_HEAD)
    plain = _pooled(head, data.features[:1])[0]  # (N, width)
    head.standardise([plain])
    x = ((plain - head.mean) * head.scale).numpy()
    judged = [(fitted.numpy(), held.numpy()) for fitted, held in data.folds]
    found = cross_validated(x, data.labels.numpy(), judged, data.class_weights, (strength,))
    candidate = Candidate(head=LINEAR_HEAD, warm_up=warm_up)
    return _trial(candidate, head, found[strength], started)


def _trial(candidate: Candidate, head: Head, validation: Validation, started: float) -> Trial:
    event = HeadTried(
        head=candidate.head.name,
        dropout=candidate.head.dropout,
        learning_rate=candidate.warm_up.learning_rate,
        optimizer=candidate.warm_up.optimizer,
        parameters=parameter_count(head),
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        seconds=time.monotonic() - started,
    )
    return Trial(candidate=candidate, validation=validation, event=event)


def _pooled(head: Head, features: torch.Tensor) -> torch.Tensor:
    """(V, N, C, H, W) → float32 (V, N, width)."""
    return head.pool(features.flatten(0, 1)).unflatten(0, features.shape[:2])
