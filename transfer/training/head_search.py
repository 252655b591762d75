"""Trying heads: on cached features each of them trains in about a second, so none is guessed.

First shapes, then dropout, learning rate and optimizer of the best one. Another takes the place of
the one before only if its loss on validation is lower by more than chance: a paired t-test, image
by image, its level shared among all that are tried at once (Bonferroni), for the best of many is
lucky. Test images take no part.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from transfer.events import HeadChosen, HeadTried
from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head, parameter_count
from transfer.settings import HeadSettings
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.step import smoothed_loss

SHAPES = (
    "avg",
    "avg-256",
    "avg-256-128",
    "flatten",
    "flatten-256",
    "flatten-256-128",
)
DROPOUTS = (0.3, 0.5, 0.7)
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
OTHER_OPTIMIZERS = {"sgd": 3e-2}
SHARE_OF_THE_EPOCHS = 0.5
FEWEST_EPOCHS = 12
IMAGES_A_BATCH = 32
MOST_TRAINING_VIEWS = 4_000
MOST_VALIDATION_IMAGES = 1_000
WIDEST = 8_192
DIVERGED = 1_000.0
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A head, and how its warm-up learns."""

    head: HeadSettings
    learning_rate: float
    optimizer: str
    weight_decay: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """`losses` float32 (M,) are those of the validation images at the best epoch, in nats."""

    candidate: Candidate
    losses: torch.Tensor
    row: dict

    def beats(self, other: "_Trial", rivals: int) -> bool:
        """Whether this, the best of `rivals`, is better than `other` by more than chance."""
        from scipy.stats import ttest_rel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of differences that are all the same, or one alone
            found = ttest_rel(other.losses.numpy(), self.losses.numpy(), alternative="greater")
        return bool(found.pvalue < LEVEL / rivals)


def try_heads(
    first: Candidate,
    features: dict[str, CachedDataset],
    make_head: Callable[[HeadSettings], Head],
    *,
    seed: int,
    rates: bool,
    optimizers: bool,
    class_weights: torch.Tensor | None = None,
) -> Iterator[HeadTried | HeadChosen]:
    """Yields HeadTried…, HeadChosen; returns the best Candidate.

    `first` is taken unless another is better; `rates` and `optimizers` say whether those may be
    changed. `class_weights` as in `run_phase`.
    """
    started = time.monotonic()
    train = _sample(features["train"], MOST_TRAINING_VIEWS // features["train"].views, seed)
    held_out = _sample(features["validation"], MOST_VALIDATION_IMAGES, seed)
    rounds = [_shapes(features["train"].inputs.shape), _dropouts]
    rounds += [_rates] * rates + [_optimizers] * optimizers
    learn = partial(_try, train=train, held_out=held_out, seed=seed, class_weights=class_weights)
    trials = [best := learn(first, make_head(first.head))]
    yield HeadTried(**best.row)
    for others in rounds:
        tried = []
        for candidate in others(best.candidate):
            tried.append(learn(candidate, make_head(candidate.head)))
            yield HeadTried(**tried[-1].row)
        trials += tried
        strongest = min(tried, key=lambda trial: trial.row["validation_loss"], default=best)
        best = strongest if strongest.beats(best, len(tried)) else best
    yield HeadChosen(
        head=best.candidate.head.name,
        tried=[trial.row | {"chosen": trial is best} for trial in trials],
        seconds=time.monotonic() - started,
        why="no other was better by more than chance"
        if best is trials[0]
        else "its loss on validation was lower by more than chance",
    )
    return best.candidate


def _shapes(features: tuple[int, ...]) -> Callable[[Candidate], list[Candidate]]:
    """All shapes but the first one's; a flattened map is tried only while it is small."""
    small = math.prod(features[2:]) <= WIDEST

    def others(best: Candidate) -> list[Candidate]:
        names = [name for name in SHAPES if small or not name.startswith("flatten")]
        return [
            replace(best, head=replace(HeadSettings.named(name), dropout=best.head.dropout))
            for name in names
            if name != best.head.name
        ]

    return others


def _dropouts(best: Candidate) -> list[Candidate]:
    others = [dropout for dropout in DROPOUTS if dropout != best.head.dropout]
    return [replace(best, head=replace(best.head, dropout=dropout)) for dropout in others]


def _rates(best: Candidate) -> list[Candidate]:
    others = [rate for rate in LEARNING_RATES if rate != best.learning_rate]
    return [replace(best, learning_rate=rate) for rate in others]


def _optimizers(best: Candidate) -> list[Candidate]:
    return [
        replace(best, optimizer=name, learning_rate=rate)
        for name, rate in OTHER_OPTIMIZERS.items()
        if name != best.optimizer
    ]


def _sample(cached: CachedDataset, most: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(features (V, M, C, H, W) in memory, labels (M,)) of at most so many images, by the seed."""
    at = np.sort(np.random.default_rng(seed).permutation(len(cached))[:most])
    views = [cached.inputs[view, cached.rows[at]] for view in range(cached.views)]
    return torch.stack(views), cached.labels[at]


def _try(
    candidate: Candidate,
    head: Head,
    train: tuple,
    held_out: tuple,
    seed: int,
    class_weights: torch.Tensor | None,
) -> _Trial:
    """Warm up one head, shorter than it will be, and keep its best epoch's losses."""
    started = time.monotonic()
    x, y = _pooled(head, train[0]), train[1]
    held_x, held_y = _pooled(head, held_out[0]), held_out[1]
    head.standardise([x[0]])
    groups = [{"params": list(head.parameters()), "lr": candidate.learning_rate}]
    optimizer = make_optimizer(candidate.optimizer, groups, candidate.weight_decay)
    batches = math.ceil(len(y) / IMAGES_A_BATCH)
    epochs = max(FEWEST_EPOCHS, round(SHARE_OF_THE_EPOCHS * candidate.epochs))
    schedule, best = make_schedule(optimizer, epochs * batches), None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            head.train()
            for batch, at in enumerate(torch.randperm(len(y)).split(IMAGES_A_BATCH)):
                schedule.step_update(epoch * batches + batch)
                logits = head.scores(x[torch.randint(len(x), at.shape), at])
                smoothed_loss(logits, y[at], class_weights).backward()
                optimizer.step()
                optimizer.zero_grad()
            logits = _judged(head, held_x[0])
            losses = cross_entropy(logits, held_y, class_weights, reduction="none")
            losses = losses.nan_to_num(nan=DIVERGED, posinf=DIVERGED)
            if best is None or losses.mean() < best[0].mean():
                best = losses, (logits.argmax(1) == held_y).float().mean().item()
    row = {
        "head": candidate.head.name,
        "dropout": candidate.head.dropout,
        "learning_rate": candidate.learning_rate,
        "optimizer": candidate.optimizer,
        "parameters": parameter_count(head),
        "validation_loss": best[0].mean().item(),
        "validation_accuracy": best[1],
        "seconds": time.monotonic() - started,
    }
    return _Trial(candidate=candidate, losses=best[0], row=row)


def _pooled(head: Head, features: torch.Tensor) -> torch.Tensor:
    """(V, M, C, H, W) → float32 (V, M, width)."""
    return head.pool(features.flatten(0, 1)).unflatten(0, features.shape[:2])


@torch.no_grad()
def _judged(head: Head, x: torch.Tensor) -> torch.Tensor:
    return head.eval().scores(x)
