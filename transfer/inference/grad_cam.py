"""Which parts of a picture spoke for a class: Grad-CAM over the last convolution.

Selvaraju et al. 2017, section 3, as captum has it. For a linear head on averaged features it is
the class activation map of Zhou et al. 2016, up to a factor.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn

from transfer.errors import SettingsError
from transfer.inference.classifier import Classifier, softmax

OPACITY = 0.6
COLOURS = "inferno"
MIDDLE_GREY = 128


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """`heat` float32 (H, W), 0…1 with 1 at the hottest place; all 0 where nothing spoke for it.

    H and W are those of the last convolution's output, a sixteenth of the picture's sides as the
    network sees it. `score` is the softmax of `label`.
    """

    label: str
    score: float
    heat: np.ndarray

    @property
    def empty(self) -> bool:
        return not self.heat.any()


def heat_map(classifier: Classifier, pixels: torch.Tensor, label: str | None = None) -> HeatMap:
    """Where the evidence for `label`, or for the best class, lies in one prepared picture.

    `pixels` is what `Classifier.prepare` returns, float32 (1, 3, H, W). Raises SettingsError where
    there is no class of that name.
    """
    if label is not None and label not in classifier.classes:
        raise SettingsError(
            f"expected one of the {len(classifier.classes)} classes, found {label[:80]!r}; choose "
            "one of them"
        )
    rest = _Rest(classifier.network)
    with torch.no_grad():
        seen = rest.below(pixels)
        scores = softmax(rest(seen))[0]
    target = int(scores.argmax()) if label is None else classifier.classes.index(label)
    return HeatMap(
        label=classifier.classes[target],
        score=float(scores[target]),
        heat=_heat(rest, seen, target),
    )


class _Rest(nn.Module):
    """What follows a network's last convolution, as a network of its own.

    captum hangs its hooks on `seen`, which is new each time, so that others may use the network
    meanwhile; and nothing below is differentiated.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        features = network.features
        pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
        self.below = features[: pools[-1]]
        self.seen = nn.Identity()
        self.above = features[pools[-1] :]
        self.score = [network.forward_head if hasattr(network, "forward_head") else network.head]

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Float (N, C, H, W) from the last convolution, rectified → logits float (N, classes)."""
        return self.score[0](self.above(self.seen(seen)))


def _heat(rest: _Rest, seen: torch.Tensor, target: int) -> np.ndarray:
    from captum.attr import LayerGradCam

    with torch.enable_grad():
        found = LayerGradCam(rest, rest.seen).attribute(seen, target, relu_attributions=True)
    heat = found[0, 0].detach().float().cpu().numpy()
    hottest = heat.max(initial=0)
    return heat / hottest if hottest > 0 else heat


def overlay(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """The heat over an RGB picture, which turns grey, in the picture's own shape."""
    spread = Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR)
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]
    mixed = OPACITY * _colours(np.asarray(spread)) + (1 - OPACITY) * grey
    return Image.fromarray(mixed.round().astype(np.uint8))


def scale(steps: int) -> list[tuple[int, int, int]]:
    """The colours that `overlay` gives to heat from 0 to 1 over a middle grey."""
    mixed = OPACITY * _colours(np.linspace(0, 1, steps)) + (1 - OPACITY) * MIDDLE_GREY
    return [tuple(map(int, colour)) for colour in mixed.round()]


def _colours(heat: np.ndarray) -> np.ndarray:
    """Heat 0…1 of any shape → float32 (…, 3), 0…255, evenly brighter the hotter."""
    from matplotlib import colormaps

    return (255 * colormaps[COLOURS](heat.clip(0, 1))[..., :3]).astype(np.float32)
