"""VGG16 in two parts: the body (five conv blocks, pretrained) and a new head on top of it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import torch
from torch import nn

from transfer.data.transform import Transform
from transfer.model.weights import build_body, load_body
from transfer.settings import BLOCKS, UNFREEZE, HeadSettings

# a channel's standard deviation counts as at least this share of the channels' mean deviation
SPREAD_FLOOR = 0.3


def original_head_parameters(architecture: str) -> int:
    """Parameters that the new head replaces: timm's `pre_logits` and `head`, 1,000 classes."""
    import timm

    with torch.device("meta"):
        model = timm.create_model(architecture)
    return sum(p.numel() for part in (model.pre_logits, model.head) for p in part.parameters())


class Head(nn.Module):
    """Pooling → standardisation → 0, 1 or 2 hidden ReLU layers with dropout → a logit per class.

    `mean` and `scale` are statistics of the training features, not learned. They bring the features
    of any body (timm's, the bundled, a random one) to the range that a new head expects.
    """

    def __init__(self, settings: HeadSettings, channels: int, side: int, classes: int):
        super().__init__()
        self.pooling = settings.pooling
        # of the pooled features: at 224 px 512 for `avg`, 512 · 7 · 7 = 25,088 for `flatten`
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
        return features.float().flatten(1) if self.pooling == "flatten" else averaged(features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features from the body, float (N, C, H, W) → logits, float (N, classes)."""
        return self.scores(self.pool(features))

    @torch.no_grad()
    def temper(self, temperature: float) -> None:
        """Divide all logits by `temperature`, within the last layer: every export carries it."""
        self.layers[-1].weight /= temperature
        self.layers[-1].bias /= temperature

    def scores(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features, float32 (N, width) → logits, float (N, classes)."""
        return self.layers((pooled - self.mean) * self.scale)

    @torch.no_grad()
    def standardise(self, pooled: Iterable[torch.Tensor]) -> None:
        """Set mean and scale from batches of pooled training features, float32 (N, width).

        Dividing by the deviation of a channel that hardly varies would amplify noise, hence the
        floor under it.
        """
        total, squares, images = 0.0, 0.0, 0
        for batch in pooled:
            batch = batch.double()  # E[x²] - E[x]² loses too many digits in float32
            total, squares = total + batch.sum(0), squares + batch.square().sum(0)
            images += len(batch)
        mean = total / images  # float64 (width,), as is everything below
        spread = (squares / images - mean.square()).clamp(min=0).sqrt()
        floor = max(SPREAD_FLOOR * spread.mean().item(), 1e-6)
        self.mean.copy_(mean)
        self.scale.copy_(1 / spread.clamp(min=floor))


def averaged(features: torch.Tensor) -> torch.Tensor:
    """The mean of each channel: float (N, C, H, W) → float32 (N, C)."""
    return features.float().mean(dim=(2, 3))


class Network(nn.Module):
    """Body and head. The body's tensors are named as in timm: `features.0.weight` …"""

    def __init__(self, features: nn.Sequential, head: Head):
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels, float32 (N, 3, S, S), ImageNet-normalised → logits, float (N, classes)."""
        return self.head(self.features(pixels))  # features: (N, 512, S/32, S/32)

    def border(self, block: str) -> int:
        """The index into `features` at which `block` begins; `none` is the end of the body."""
        ends = [i + 1 for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        return [0, *ends][UNFREEZE.index(block)]

    def between(self, block: str, above: str) -> nn.Sequential:
        """The layers of the body from `block` up to `above`, shared with this network."""
        return self.features[self.border(block) : self.border(above)]

    def parts(self) -> Iterator[tuple[str, nn.Module]]:
        """(name, layers) of the five blocks and the head, from the input up."""
        for block, above in pairwise(UNFREEZE):
            yield block, self.between(block, above)
        yield "head", self.head

    def freeze_below(self, block: str) -> list[str]:
        """Freeze the body below `block`, unfreeze the rest; `none` freezes all of the body.

        Frozen means: no gradient, eval mode and, through `trainable_groups`, not in the optimizer.
        Returns the names of the unfrozen parts.
        """
        learning = [*BLOCKS[UNFREEZE.index(block) :], "head"]
        for name, part in self.parts():
            part.requires_grad_(name in learning)
            part.train(name in learning)
        return learning

    def drift_from_now(self, names: list[str]) -> Callable[[], dict[str, float]]:
        """A function that says how far the named parts moved since this call: |w - w₀| / |w₀|."""
        parts = {name: part for name, part in self.parts() if name in names}
        start = {name: _flat(part).clone() for name, part in parts.items()}

        def drift() -> dict[str, float]:
            return {
                name: float((_flat(part) - start[name]).norm() / start[name].norm())
                for name, part in parts.items()
            }

        return drift

    def trainable_groups(
        self, learning_rate: float, body_rate: float = 1.0, decay: float = 1.0
    ) -> list[dict]:
        """Optimizer groups of the unfrozen parameters, with discriminative learning rates (Howard &
        Ruder 2018, ULMFiT, section 3.2): the head at `learning_rate`, block5 at `body_rate` times
        that, each block below at `decay` times the one above. Biases have no weight decay.
        """
        groups, no_decay = [], {"weight_decay": 0.0}
        for depth, (_, part) in enumerate(reversed(list(self.parts()))):
            rate = learning_rate * (1 if depth == 0 else body_rate * decay ** (depth - 1))
            parameters = [p for p in part.parameters() if p.requires_grad]
            weights = [p for p in parameters if p.ndim > 1]
            biases = [p for p in parameters if p.ndim <= 1]
            groups += [{"params": weights, "lr": rate}, {"params": biases, "lr": rate} | no_decay]
        return [group for group in groups if group["params"]]


def _flat(part: nn.Module) -> torch.Tensor:
    """All kernels and weight matrices in one float32 vector; biases are left out."""
    return torch.cat([p.detach().flatten() for p in part.parameters() if p.ndim > 1])


class Segment(nn.Module):
    """Some layers of a network, as the cache and the epoch loop run them.

    The input is what the cache holds: pixels, uint8 (N, 3, S, S), which are normalised first, or
    features, (N, C, H, W) in float32, bfloat16 or float16.
    """

    def __init__(self, layers: nn.Module, transform: Transform):
        super().__init__()
        self.layers = layers
        self.transform = transform

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        inputs = self.transform.normalise(stored) if stored.dtype == torch.uint8 else stored
        # autocast chooses the dtype of each layer itself; without it inputs and weights must agree
        if not torch.is_autocast_enabled(stored.device.type):
            inputs = inputs.to(next(self.parameters(), inputs).dtype)
        # bf16 in channels_last runs 2.5 times as fast as float32 in the default layout (VGG16, CPU)
        return self.layers(inputs.contiguous(memory_format=torch.channels_last))


def build_network(
    architecture: str,
    body: dict[str, torch.Tensor],
    head: HeadSettings,
    image_size: int,
    classes: int,
    seed: int,
) -> Network:
    """A copy of the body's tensors, in float32, under a new head that `seed` initialises.

    Raises WeightsError when a tensor is missing or has another shape.
    """
    features = load_body(build_body(architecture), body)
    new_head = build_head(features, head, image_size, classes, seed)
    return Network(features, new_head).to(memory_format=torch.channels_last).eval()


def build_head(
    features: nn.Sequential, head: HeadSettings, image_size: int, classes: int, seed: int
) -> Head:
    """A new head for the body `features`, initialised by the seed."""
    channels = [layer.out_channels for layer in features if isinstance(layer, nn.Conv2d)][-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(head, channels, image_size // 32, classes)  # five max pools: 2⁵ = 32


def parameter_count(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
