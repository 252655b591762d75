"""One update on a batch, and one look at validation; both phases and the estimate make them."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn
from torch.nn.functional import cross_entropy

from transfer.errors import TransferError
from transfer.features.cached_dataset import CachedDataset

LARGEST_GRADIENT_NORM = 1.0
LABEL_SMOOTHING = 0.1


@dataclass
class TrainStep:
    """One step of the optimizer, on a batch in parts of at most `at_once` images."""

    accelerator: Accelerator
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    at_once: int
    class_weights: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor, labels: torch.Tensor) -> float:
        """The mean cross-entropy of all processes' batches, of smoothed labels.

        Where memory runs out the parts are halved and the batch begins anew. Raises TransferError
        when it does not hold a single image.
        """
        while True:
            try:
                loss = self._gradients(inputs, labels)
                break
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            if self.at_once == 1:
                raise TransferError(
                    "expected memory for a single image at least, found less; choose a smaller "
                    "--image-size, or unfreeze fewer blocks"
                )
            self.at_once = max(1, min(self.at_once, len(labels)) // 2)
            self.optimizer.zero_grad()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.accelerator.clip_grad_norm_(parameters, LARGEST_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.accelerator.reduce(loss, "mean").item()

    def _gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=labels.device)
        parts = zip(inputs.split(self.at_once), labels.split(self.at_once), strict=True)
        for part, wanted in parts:
            with self.accelerator.autocast():
                logits = self.trained(part).float()
            loss = smoothed_loss(logits, wanted, self.class_weights)
            loss = loss * (self._weight(wanted) / self._weight(labels))
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _weight(self, labels: torch.Tensor) -> float:
        return len(labels) if self.class_weights is None else self.class_weights[labels].sum()


def smoothed_loss(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean cross-entropy of smoothed labels, where an image counts as its class weighs.

    `logits` float32 (N, classes), `labels` int64 (N,). The weights that `cross_entropy` takes would
    also weigh what smoothing gives to the other classes: a frequent class would lose to a rare one.
    """
    if class_weights is None:
        return cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
    losses = cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING, reduction="none")
    weights = class_weights[labels]
    return (losses * weights).sum() / weights.sum()


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Float32 (classes,): every class weighs the same in all, an image 1 on average.

    `labels` int64 (N,) holds each class (King & Zeng 2001, as scikit-learn's `balanced`).
    """
    return len(labels) / (classes * torch.bincount(labels, minlength=classes).float())


@torch.no_grad()
def validate(
    accelerator: Accelerator,
    trained: nn.Module,
    loader,
    class_weights: torch.Tensor | None = None,
) -> tuple[float, float]:
    """(mean cross-entropy in nats, share of right answers) over all images of all processes.

    With `class_weights` each image's cross-entropy is taken times its class's weight, as they are.
    """
    trained.eval()
    losses, hits = [], []
    for inputs, labels in loader:
        with accelerator.autocast():
            logits = trained(inputs).float()
        loss = cross_entropy(logits, labels, class_weights, reduction="none")
        hit = logits.argmax(1) == labels
        loss, hit = accelerator.gather_for_metrics((loss, hit))
        losses.append(loss)
        hits.append(hit)
    return torch.cat(losses).mean().item(), torch.cat(hits).float().mean().item()


def train_mode(module: nn.Module) -> None:
    """Train mode for what learns; frozen layers stay in eval mode."""
    for child in module.modules():
        own = list(child.parameters())
        child.training = not own or any(p.requires_grad for p in own)


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


IMAGES_A_BATCH = 32


def predict(
    module: nn.Module, cached: CachedDataset, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Scores float32 (M, classes), rows summing to 1, of the plain views, in full precision."""
    module = module.to(device).eval()  # not in inference mode, or it could never learn again
    with torch.inference_mode():
        scores = [
            module(cached.inputs[0, rows].to(device)).float().softmax(dim=1).cpu()
            for rows in cached.rows.split(IMAGES_A_BATCH)
        ]
    return torch.cat(scores).numpy()
