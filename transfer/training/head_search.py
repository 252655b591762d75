"""Head search: on cached features a head trains in about a second, so several are tried.

First shapes, then dropout, learning rate and optimizer of the best one. A challenger replaces the
best head so far only if its validation loss is lower by more than chance: a paired t-test, image by
image, with the significance level divided by the number of challengers in the round (Bonferroni),
because the best of many is partly lucky. Test images take no part.
"""

import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from transfer.events import HeadChosen, HeadTried
from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head, parameter_count
from transfer.settings import HeadSettings, PhaseSettings
from transfer.training.defaults import (
    HEAD_DROPOUTS,
    HEAD_LEARNING_RATES,
    HEAD_OPTIMIZERS,
    HEAD_SHAPES,
    TRIAL_BATCH_SIZE,
    TRIAL_VIEWS,
    trial_epochs,
)
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.step import smoothed_loss

TRIAL_VALIDATION_IMAGES = 1_000
LARGEST_FLATTENED = 8_192  # values; a wider first layer would take longer than all other trials
DIVERGED_LOSS = 1_000.0  # nats; stands for a loss that is not finite, so that means stay numbers
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A head, and how it is warmed up."""

    head: HeadSettings
    warm_up: PhaseSettings


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`losses` float32 (M,) are those of the validation images at the best epoch, in nats."""

    candidate: Candidate
    losses: torch.Tensor
    event: HeadTried

    def beats(self, other: "Trial", challengers: int) -> bool:
        """Whether this, the best of `challengers`, is better than `other` by more than chance."""
        from scipy.stats import ttest_rel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about identical differences, or a single one
            test = ttest_rel(other.losses.numpy(), self.losses.numpy(), alternative="greater")
        return bool(test.pvalue < SIGNIFICANCE / challengers)


@dataclass(frozen=True, kw_only=True)
class TrialData:
    """Features float (V, M, C, H, W) in memory and labels int64 (M,), of training and validation.

    `class_weights` float32 (classes,) weight every loss, if given.
    """

    train: tuple[torch.Tensor, torch.Tensor]
    validation: tuple[torch.Tensor, torch.Tensor]
    class_weights: torch.Tensor | None = None


def try_heads(
    first: Candidate,
    features: dict[str, CachedDataset],
    make_head: Callable[[HeadSettings], Head],
    *,
    seed: int,
    vary: Collection[str] = (),
    class_weights: torch.Tensor | None = None,
) -> Iterator[HeadTried | HeadChosen]:
    """Yields HeadTried…, HeadChosen; returns (the best Candidate, HeadChosen).

    `vary` may name `learning_rate` and `optimizer`; shape and dropout are always varied.
    """
    started = time.monotonic()
    train = features["train"]
    data = TrialData(
        train=_sample(train, TRIAL_VIEWS // train.views, seed),
        validation=_sample(features["validation"], TRIAL_VALIDATION_IMAGES, seed),
        class_weights=class_weights,
    )
    trials = [best := _try(first, make_head(first.head), data, seed)]
    yield best.event
    for part, changes in _rounds(math.prod(train.inputs.shape[2:]), vary):
        known, tried = best.candidate, []
        for change in changes:
            candidate = replace(known, **{part: replace(getattr(known, part), **change)})
            if candidate != known:
                tried.append(_try(candidate, make_head(candidate.head), data, seed))
                yield tried[-1].event
        trials += tried
        strongest = min(tried, key=lambda trial: trial.event.validation_loss)
        best = strongest if strongest.beats(best, len(tried)) else best
    chosen = HeadChosen(
        head=best.candidate.head.name,
        tried=[vars(trial.event) | {"chosen": trial is best} for trial in trials],
        seconds=time.monotonic() - started,
        why="no other was better by more than chance"
        if best is trials[0]
        else "its loss on validation was lower by more than chance",
    )
    yield chosen
    return best.candidate, chosen


def _rounds(values: int, vary: Collection[str]) -> Iterator[tuple[str, list[dict]]]:
    """(field of Candidate, changes to it) of each round; large maps of `values` are not flattened.

    The change that the best candidate has already is left out.
    """
    shapes = map(HeadSettings.named, HEAD_SHAPES)
    small = [head for head in shapes if values <= LARGEST_FLATTENED or head.pooling != "flatten"]
    yield "head", [{"pooling": head.pooling, "hidden": head.hidden} for head in small]
    yield "head", [{"dropout": dropout} for dropout in HEAD_DROPOUTS]
    if "learning_rate" in vary:
        yield "warm_up", [{"learning_rate": rate} for rate in HEAD_LEARNING_RATES]
    if "optimizer" in vary:
        rates = HEAD_OPTIMIZERS.items()
        yield "warm_up", [{"optimizer": name, "learning_rate": rate} for name, rate in rates]


def _sample(cached: CachedDataset, most: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(features (V, M, C, H, W), labels int64 (M,)) of at most `most` images, in order."""
    at = np.sort(np.random.default_rng(seed).permutation(len(cached))[:most])
    views = [cached.inputs[view, cached.rows[at]] for view in range(cached.views)]
    return torch.stack(views), cached.labels[at]


def _try(candidate: Candidate, head: Head, data: TrialData, seed: int) -> Trial:
    """Warm up one head, for fewer epochs than the real warm-up, and judge its best epoch."""
    started = time.monotonic()
    x, y = _pooled(head, data.train[0]), data.train[1]  # (V, M, width), (M,)
    validation, labels = _pooled(head, data.validation[0])[0], data.validation[1]
    head.standardise([x[0]])  # of the plain views
    phase = candidate.warm_up
    groups = [{"params": list(head.parameters()), "lr": phase.learning_rate}]
    optimizer = make_optimizer(phase.optimizer, groups, phase.weight_decay)
    batches = math.ceil(len(y) / TRIAL_BATCH_SIZE)
    epochs = trial_epochs(phase.epochs)
    schedule, best = make_schedule(optimizer, epochs * batches), None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            head.train()
            for batch, rows in enumerate(torch.randperm(len(y)).split(TRIAL_BATCH_SIZE)):
                schedule.step_update(epoch * batches + batch)
                views = torch.randint(len(x), rows.shape)  # one for each image
                logits = head.scores(x[views, rows])  # (B, width) → (B, classes)
                smoothed_loss(logits, y[rows], data.class_weights).backward()
                optimizer.step()
                optimizer.zero_grad()
            with torch.no_grad():
                logits = head.eval().scores(validation)  # (M, width) → (M, classes)
            losses = cross_entropy(logits, labels, data.class_weights, reduction="none")
            losses = losses.nan_to_num(nan=DIVERGED_LOSS, posinf=DIVERGED_LOSS)
            if best is None or losses.mean() < best[0].mean():
                best = losses, (logits.argmax(1) == labels).float().mean().item()
    losses, accuracy = best
    event = HeadTried(
        head=candidate.head.name,
        dropout=candidate.head.dropout,
        learning_rate=phase.learning_rate,
        optimizer=phase.optimizer,
        parameters=parameter_count(head),
        validation_loss=losses.mean().item(),
        validation_accuracy=accuracy,
        seconds=time.monotonic() - started,
    )
    return Trial(candidate=candidate, losses=losses, event=event)


def _pooled(head: Head, features: torch.Tensor) -> torch.Tensor:
    """(V, M, C, H, W) → float32 (V, M, width)."""
    return head.pool(features.flatten(0, 1)).unflatten(0, features.shape[:2])
