"""How a classifier does on images that it was not fitted on, and whether it beats another."""

import warnings
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

TEMPERATURES = tuple(2 ** (step / 4) for step in range(-8, 17))  # 1/4 to 16
DIVERGED_LOSS = 1_000.0  # nats; stands for a loss that is not finite, so that means stay numbers
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How a network does on M validation images.

    `losses`, float32 (M,), are their cross-entropies in nats, each multiplied by its class's weight
    if there are any, at the one temperature of TEMPERATURES that makes their mean least (Guo et
    al. 2017): a network is judged by what it tells apart, not by how sure label smoothing or
    regularisation leave it. `hits`, bool (M,), are those it is right about.
    """

    losses: torch.Tensor
    hits: torch.Tensor

    @classmethod
    def of(cls, losses: torch.Tensor, hits: torch.Tensor) -> "Validation":
        """From the `losses` (M, temperatures) of `tempered_losses` and the `hits` bool (M,)."""
        losses = losses.nan_to_num(nan=DIVERGED_LOSS, posinf=DIVERGED_LOSS).cpu()
        best = losses[:, losses.mean(0).argmin()].clone()
        return cls(losses=best, hits=hits.cpu())

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
        return _greater(other.losses, self.losses, SIGNIFICANCE / challengers)

    def right_more_often(self, other: "Validation", weights: torch.Tensor | None = None) -> bool:
        """Whether this is right about more images than `other`, by more than chance.

        `weights`, float32 (M,), say what each image counts, if they differ.
        """
        weights = torch.ones(len(self.hits)) if weights is None else weights
        return _greater(self.hits * weights, other.hits * weights, SIGNIFICANCE)


def _greater(values: torch.Tensor, others: torch.Tensor, level: float) -> bool:
    """By a one-sided paired t-test."""
    from scipy.stats import ttest_rel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about identical differences, or a single one
        test = ttest_rel(values.numpy(), others.numpy(), alternative="greater")
    return bool(test.pvalue < level)


def tempered_losses(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted cross-entropy of each image at each temperature, float32 (N, temperatures).

    `logits` float32 (N, classes), `labels` int64 (N,); labels are not smoothed here.
    """
    losses = (
        cross_entropy(logits / temperature, labels, class_weights, reduction="none")
        for temperature in TEMPERATURES
    )
    return torch.stack(list(losses), dim=1)
