"""How a classifier does on images that it was not fitted on, and whether it beats another."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

TEMPERATURES = tuple(2 ** (step / 4) for step in range(-8, 17))  # 1/4 to 16
DIVERGED_LOSS = 1_000.0  # nats; stands for a loss that is not finite, so that means stay numbers
SIGNIFICANCE = 0.05


class Judged(NamedTuple):
    """What counts of a batch of N images: their cross-entropies in nats at each of TEMPERATURES,
    float32 (N, temperatures); by how much the true class's logit exceeds the mean of the others,
    float32 (N,); whether the network is right, bool (N,); and their labels, int64 (N,)."""

    losses: torch.Tensor
    margins: torch.Tensor
    hits: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> "Judged":
        """`logits` float32 (N, classes), `labels` int64 (N,); labels are not smoothed here."""
        losses = (cross_entropy(logits / t, labels, reduction="none") for t in TEMPERATURES)
        true = logits.gather(1, labels[:, None])[:, 0]
        others = (logits.sum(1) - true) / (logits.shape[1] - 1)
        return cls(
            losses=torch.stack(list(losses), dim=1),
            margins=true - others,
            hits=logits.argmax(1) == labels,
            labels=labels,
        )


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How a network does on M images that it was not fitted on.

    `losses`, float32 (M,), are their cross-entropies in nats, each multiplied by its class's weight
    if there are any, at the one of TEMPERATURES that makes their mean least (Guo et al. 2017): a
    network is judged by what it tells apart, not by how sure label smoothing or regularisation
    leave it. `hits`, bool (M,), are the images it is right about. `temperature` is the one that a
    classifier should have, and `true_scores`, float32 (M,), are the scores, 0…1, of the true
    classes at it.
    """

    losses: torch.Tensor
    hits: torch.Tensor
    true_scores: torch.Tensor
    temperature: float

    @classmethod
    def joined(
        cls, parts: Iterable["Judged"], class_weights: torch.Tensor | None = None
    ) -> "Validation":
        """Of all batches together; `class_weights` are float32 (classes,)."""
        losses, margins, hits, labels = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        losses = losses.nan_to_num(nan=DIVERGED_LOSS, posinf=DIVERGED_LOSS)
        weights = torch.ones(1) if class_weights is None else class_weights.cpu()[labels]
        weighted = losses * weights[:, None]  # (M, temperatures)
        # Where all are right, the loss falls with the temperature for ever. The smoothed targets
        # of Platt (1999), as if of M + 2 images one were wrong, keep it from that.
        doubt = margins[:, None] / torch.tensor(TEMPERATURES) / (len(labels) + 2)
        chosen = int((weighted + weights[:, None] * doubt).nan_to_num().mean(0).argmin())
        return cls(
            losses=weighted[:, weighted.mean(0).argmin()].clone(),
            hits=hits,
            true_scores=(-losses[:, chosen]).exp(),
            temperature=TEMPERATURES[chosen],
        )

    @property
    def loss(self) -> float:
        return self.losses.mean().item()

    @property
    def accuracy(self) -> float:
        return self.hits.float().mean().item()

    def beats(self, other: "Validation", challengers: int = 1) -> bool:
        """Whether this, the best of `challengers`, is better than `other` by more than chance.

        A paired t-test, image by image, at a level divided by the challengers (Bonferroni): no
        single image decides.
        """
        return greater(other.losses, self.losses, SIGNIFICANCE / challengers)

    def right_more_often(self, other: "Validation", weights: torch.Tensor | None = None) -> bool:
        """Whether this is right about more images than `other`, by more than chance.

        `weights`, float32 (M,), say what each image counts, if they differ.
        """
        weights = torch.ones(len(self.hits)) if weights is None else weights
        return greater(self.hits * weights, other.hits * weights)


def greater(values: torch.Tensor, others: torch.Tensor, level: float = SIGNIFICANCE) -> bool:
    """By a one-sided paired t-test."""
    from scipy.stats import ttest_rel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about identical differences, or a single one
        test = ttest_rel(values.numpy(), others.numpy(), alternative="greater")
    return bool(test.pvalue < level)
