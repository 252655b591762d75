"""One optimizer step on a batch, and validation; both phases and their time estimate use them."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn
from torch.nn.functional import cross_entropy

from transfer.errors import TransferError
from transfer.features.cached_dataset import CachedDataset
from transfer.features.validation import Judged, Validation
from transfer.machine.device import NO_MEMORY, in_parts, out_of_memory
from transfer.model.vgg import Head, Segment, averaged

LARGEST_GRADIENT_NORM = 1.0  # of a batch whose images all weigh 1
LABEL_SMOOTHING = 0.1  # Szegedy et al. 2016, section 7
IMAGES_A_PREDICTION = 32


def prepared(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The module as all processes train it: on the device, in mixed precision, with the main
    process's weights.

    Without DDP, which reduces the gradients of each backward pass: a process that has too little
    memory makes more of them than others, and all would wait for ever. TrainStep reduces once.
    """
    trained = accelerator.prepare_model(module, evaluation_mode=True)
    module.load_state_dict(broadcast(module.state_dict()))
    return trained


@dataclass
class TrainStep:
    """One optimizer step on a batch, in parts of at most `images_at_once`."""

    accelerator: Accelerator
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    images_at_once: int
    class_weights: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor, labels: torch.Tensor) -> float:
        """Mean smoothed cross-entropy, in nats, of the batches of all processes.

        `inputs` (N, …) as the module takes them, `labels` int64 (N,). When memory runs out, the
        parts are halved and the batch starts over. Raises TransferError when not even one image
        fits.
        """
        while True:
            try:
                loss = self._accumulate_gradients(inputs, labels)
                break
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            if self.images_at_once == 1:
                raise TransferError(NO_MEMORY)
            self.images_at_once = max(1, min(self.images_at_once, len(labels)) // 2)
            self.optimizer.zero_grad()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.accelerator.num_processes > 1:
            for parameter in parameters:
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        self.accelerator.clip_grad_norm_(parameters, self._largest_norm(labels))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.accelerator.reduce(loss, "mean").item()

    def _accumulate_gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The batch's mean loss, float32 (); each part counts by its share of the images."""
        total = torch.zeros((), device=labels.device)
        parts = zip(
            inputs.split(self.images_at_once), labels.split(self.images_at_once), strict=True
        )
        for part, part_labels in parts:
            with self.accelerator.autocast():
                logits = self.trained(part).float()  # (n, classes), out of bf16 or fp16
            loss = smoothed_loss(logits, part_labels, self.class_weights)
            loss = loss * (len(part) / len(labels))
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _largest_norm(self, labels: torch.Tensor) -> float:
        """Where gradients are clipped; the same in all processes.

        The norm of a mean of different gradients grows with the root mean square of their weights.
        One limit for all batches would cut those with a rare class most, and undo its weight.
        """
        if self.class_weights is None:
            return LARGEST_GRADIENT_NORM
        squares = self.accelerator.reduce(self.class_weights[labels].square().mean(), "mean")
        return LARGEST_GRADIENT_NORM * squares.sqrt().item()


def smoothed_loss(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy of smoothed labels, each image's multiplied by its class's weight.

    `logits` float32 (N, classes), `labels` int64 (N,). The sum is divided by N, not by the batch's
    weights, which would take from a rare class what it has to weigh more than the batches without
    it. The weights that `cross_entropy` takes would also weight what smoothing gives to the other
    classes: a frequent class would lose to a rare one.
    """
    if class_weights is None:
        return cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
    losses = cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING, reduction="none")
    return (losses * class_weights[labels]).mean()


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Float32 (classes,): every class has the same total weight, an image 1 on average.

    `labels` int64 (N,) holds each class (King & Zeng 2001, like scikit-learn's `balanced`).
    """
    return len(labels) / (classes * torch.bincount(labels, minlength=classes).float())


@torch.no_grad()
def validate(
    accelerator: Accelerator,
    trained: nn.Module,
    loader,
    class_weights: torch.Tensor | None = None,
) -> Validation:
    """On the images of all processes."""
    module = accelerator.unwrap_model(trained).eval()
    judged = []
    for inputs, labels in loader:
        with accelerator.autocast():
            logits = in_parts(module, inputs).float()  # (N, classes)
        # the last batch is padded to the same size in all processes; this drops the padding
        judged.append(accelerator.gather_for_metrics(Judged.of(logits, labels)))
    return Validation.joined(judged, class_weights)


def train_mode(module: nn.Module) -> None:
    """Train mode for everything but frozen layers, which stay in eval mode."""
    for child in module.modules():
        own = list(child.parameters())
        child.training = not own or any(p.requires_grad for p in own)


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the module's state, which further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@torch.inference_mode()
def averaged_outputs(
    body: Segment, cached: CachedDataset, rows: np.ndarray, accelerator: Accelerator
) -> np.ndarray:
    """What leaves the body, averaged, float32 (len(rows), C), of the plain views of these of the
    readable images, in the training's precision."""
    device = accelerator.device
    body = body.to(device).eval()

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        with accelerator.autocast():
            return averaged(body(inputs.to(device))).cpu()

    batches = cached.rows[rows].split(IMAGES_A_PREDICTION)
    return torch.cat([in_parts(outputs, cached.inputs[0, batch]) for batch in batches]).numpy()


def predict(
    body: Segment, head: Head, cached: CachedDataset, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """(logits float32 (M, classes), averaged outputs of the body float32 (M, C)) of the plain
    views, in full precision. `body` takes what is cached, `head` what leaves it."""
    body, head = body.to(device).eval(), head.to(device).eval()

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        features = body(inputs.to(device))
        return torch.cat([averaged(features), head(features).float()], dim=1).cpu()

    with torch.inference_mode():
        batches = cached.rows.split(IMAGES_A_PREDICTION)
        both = torch.cat([in_parts(outputs, cached.inputs[0, rows]) for rows in batches])
    classes = head.layers[-1].out_features
    return both[:, -classes:].numpy(), both[:, :-classes].numpy()
