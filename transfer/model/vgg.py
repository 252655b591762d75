"""VGG16 cut in two: a body of five conv blocks, and a new head on top of it."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from transfer.data.transform import Transform
from transfer.model.weights import build_body, load_body
from transfer.settings import BLOCKS, HeadSettings

SPREAD_FLOOR = 0.3


def original_head_parameters(architecture: str) -> int:
    """What the new head replaces: timm's `pre_logits` and `head` for ImageNet's 1,000 classes."""
    import timm

    with torch.device("meta"):
        model = timm.create_model(architecture)
    return sum(p.numel() for part in (model.pre_logits, model.head) for p in part.parameters())


class Head(nn.Module):
    """Pooling → standardising → 0, 1 or 2 hidden ReLU layers with dropout → one logit a class.

    `mean` and `scale` are fixed statistics of the training features, not learned: they put bodies
    of any scale (ImageNet's, a small one's, a random one's) on the same footing for a cold head.
    """

    def __init__(self, settings: HeadSettings, channels: int, side: int, classes: int):
        super().__init__()
        self.pooling = settings.pooling
        width = channels * side * side if self.pooling == "flatten" else channels
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        layers: list[nn.Module] = []
        for hidden in settings.hidden:
            layers += [nn.Dropout(settings.dropout), nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        layers += [nn.Dropout(settings.dropout), nn.Linear(width, classes)]
        self.layers = nn.Sequential(*layers)

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Float (N, C, H, W) → float32 (N, C) for `avg`, (N, C·H·W) for `flatten`."""
        features = features.float()
        return features.flatten(1) if self.pooling == "flatten" else features.mean(dim=(2, 3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Float (N, C, H, W) from the body → logits float (N, classes)."""
        return self.scores(self.pool(features))

    def scores(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled float32 (N, width) → logits float (N, classes)."""
        return self.layers((pooled - self.mean) * self.scale)

    @torch.no_grad()
    def standardise(self, pooled: Iterable[torch.Tensor]) -> None:
        """Take mean and scale from batches of pooled training features, float32 (N, width).

        A channel that hardly varies would be blown up to noise, so the spread has a floor.
        """
        total, squares, images = 0.0, 0.0, 0
        for batch in pooled:
            batch = batch.double()
            total, squares = total + batch.sum(0), squares + batch.square().sum(0)
            images += len(batch)
        mean = total / images
        spread = (squares / images - mean.square()).clamp(min=0).sqrt()
        floor = max(SPREAD_FLOOR * spread.mean().item(), 1e-6)
        self.mean.copy_(mean)
        self.scale.copy_(1 / spread.clamp(min=floor))


class Network(nn.Module):
    """Body and head, with names as timm has them: `features.0.weight` … and `head.…`."""

    def __init__(self, features: nn.Sequential, head: Head):
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (N, 3, S, S) → logits float (N, classes)."""
        return self.head(self.features(pixels))

    def border(self, block: str) -> int:
        """The index into `features` at which `block` begins; `none` begins after the last."""
        if block == "none":
            return len(self.features)
        ends = [i + 1 for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        return [0, *ends][BLOCKS.index(block)]

    def border_shape(self, block: str, image_size: int) -> tuple[int, int, int]:
        """(C, H, W) of what enters `block`, for square images of `image_size`."""
        prefix = self.prefix(block)
        channels = [layer.out_channels for layer in prefix if isinstance(layer, nn.Conv2d)]
        side = image_size // 2 ** sum(isinstance(layer, nn.MaxPool2d) for layer in prefix)
        return (channels[-1] if channels else 3, side, side)

    def prefix(self, block: str) -> nn.Sequential:
        """The body below `block`; shares its layers with this network."""
        return self.features[: self.border(block)]

    def tail(self, block: str) -> nn.Sequential:
        """The body from `block` up; shares its layers with this network."""
        return self.features[self.border(block) :]

    def parts(self) -> Iterator[tuple[str, nn.Module]]:
        """The five blocks and the head, bottom up, by name."""
        for i, block in enumerate(BLOCKS):
            above = BLOCKS[i + 1] if i + 1 < len(BLOCKS) else "none"
            yield block, self.features[self.border(block) : self.border(above)]
        yield "head", self.head

    def freeze_below(self, block: str) -> list[str]:
        """Freeze the body below `block`, unfreeze the rest; `none` freezes the whole body.

        Frozen means no gradient, eval mode and (through `trainable_groups`) not in the optimizer.
        Returns the names of the parts that learn.
        """
        learning = [*BLOCKS[BLOCKS.index(block) :], "head"] if block in BLOCKS else ["head"]
        for name, part in self.parts():
            part.requires_grad_(name in learning)
            part.train(name in learning)
        return learning

    def drift_from_now(self, names: list[str]) -> Callable[[], dict[str, float]]:
        """How far the weights of the named parts have moved since this call: |w - w₀| / |w₀|."""
        parts = {name: part for name, part in self.parts() if name in names}
        began = {name: _flat(part).clone() for name, part in parts.items()}

        def drift() -> dict[str, float]:
            return {
                name: float((_flat(part) - began[name]).norm() / began[name].norm())
                for name, part in parts.items()
            }

        return drift

    def trainable_groups(
        self, learning_rate: float, body_rate: float = 1.0, decay: float = 1.0
    ) -> list[dict]:
        """Optimizer groups of what learns: the head at `learning_rate`, block5 at `body_rate` times
        that, and each block below at `decay` times the one above it (ULMFiT, Howard & Ruder 2018).

        Biases come without weight decay.
        """
        groups = []
        for depth, (_, part) in enumerate(reversed(list(self.parts()))):
            rate = learning_rate * (1 if depth == 0 else body_rate * decay ** (depth - 1))
            parameters = [p for p in part.parameters() if p.requires_grad]
            for group, extra in (
                ([p for p in parameters if p.ndim > 1], {}),
                ([p for p in parameters if p.ndim <= 1], {"weight_decay": 0.0}),
            ):
                if group:
                    groups.append({"params": group, "lr": rate} | extra)
        return groups


def _flat(part: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in part.parameters() if p.ndim > 1])


class Segment(nn.Module):
    """Some layers of a network as the cache and the epoch loop run them.

    Takes what is stored, uint8 pixels (N, 3, S, S) or features (N, C, H, W) of any float dtype.
    """

    def __init__(self, layers: nn.Module, transform: Transform):
        super().__init__()
        self.layers = layers
        self.transform = transform

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        inputs = self.transform.normalise(stored) if stored.dtype == torch.uint8 else stored
        if not torch.is_autocast_enabled(stored.device.type):
            inputs = inputs.to(next(self.parameters()).dtype)
        return self.layers(inputs.contiguous(memory_format=torch.channels_last))


def build_network(
    architecture: str,
    body: dict[str, torch.Tensor],
    head: HeadSettings,
    image_size: int,
    classes: int,
    seed: int,
) -> Network:
    """The given body tensors (copied, float32) under a head randomly initialised by the seed.

    Raises WeightsError when a tensor is missing or has another shape.
    """
    features = load_body(build_body(architecture), body)
    new_head = build_head(features, head, image_size, classes, seed)
    return Network(features, new_head).to(memory_format=torch.channels_last).eval()


def build_head(
    features: nn.Sequential, head: HeadSettings, image_size: int, classes: int, seed: int
) -> Head:
    """A head on top of the body `features`, randomly initialised by the seed."""
    channels = [layer.out_channels for layer in features if isinstance(layer, nn.Conv2d)][-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(head, channels, image_size // 32, classes)


def parameter_count(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
