"""Which parts of a picture are evidence for a class: Grad-CAM at the last convolution.

Selvaraju et al. 2017, section 3, computed by captum. For a linear head on averaged features it is
the class activation map of Zhou et al. 2016, up to a factor.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn

from transfer.data.labels import class_name
from transfer.errors import SettingsError
from transfer.inference.classifier import Classifier, softmax
from transfer.machine.device import in_parts

OPACITY = 0.6  # of the heat over the grey picture
COLOURS = "inferno"  # brightness rises evenly with the heat, so that it reads without colour too
MIDDLE_GREY = 128


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    label: str
    score: float  # the softmax of `label`
    heat: np.ndarray  # float32 (H/16, W/16), 0…1 with 1 at the hottest place; all 0: no evidence

    @property
    def empty(self) -> bool:
        return not self.heat.any()


def heat_map(classifier: Classifier, pixels: torch.Tensor, label: str | None = None) -> HeatMap:
    """Where the evidence for `label`, by default the best class, lies in one prepared picture,
    float32 (1, 3, H, W). Raises SettingsError where there is no class of that name."""
    if label is not None and label not in classifier.classes:
        same = [name for name in classifier.classes if class_name(name) == class_name(label)]
        if not same:
            raise SettingsError(
                f"expected one of the {len(classifier.classes)} classes, found {label[:80]!r}; "
                "choose one of them"
            )
        label = same[0]
    upper = _UpperNetwork(classifier.network)
    with torch.no_grad():
        maps = in_parts(upper.below, pixels)  # (1, 512, H/16, W/16)
        scores = softmax(upper(maps))[0]  # (classes,)
    target = int(scores.argmax()) if label is None else classifier.classes.index(label)
    label, heat = classifier.classes[target], _heat(upper, maps, target)
    return HeatMap(label=label, score=float(scores[target]), heat=heat)


class _UpperNetwork(nn.Module):
    """What follows a network's last convolution.

    captum attaches its hooks to `maps`, a new module each time, so other threads may use the
    network meanwhile; and nothing below it is differentiated.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        features = network.features
        last_pool = max(i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d))
        self.below, self.above = features[:last_pool], features[last_pool:]
        self.maps = nn.Identity()
        # in a tuple, so that it does not become a submodule; timm's VGG has a method for it
        self.head = (getattr(network, "forward_head", None) or network.head,)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Float32 (N, 512, H/16, W/16), after ReLU → logits (N, classes)."""
        return self.head[0](self.above(self.maps(maps)))


def _heat(upper: _UpperNetwork, maps: torch.Tensor, target: int) -> np.ndarray:
    from captum.attr import LayerGradCam

    with torch.enable_grad():
        found = LayerGradCam(upper, upper.maps).attribute(maps, target, relu_attributions=True)
    heat = found[0, 0].detach().float().cpu().numpy()  # (1, 1, H/16, W/16) → (H/16, W/16)
    hottest = heat.max(initial=0)
    return heat / hottest if hottest > 0 else heat


def overlay(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """The heat, enlarged, over a grey version of an RGB picture."""
    enlarged = Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR)
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]  # (H, W, 1), 0…255
    return Image.fromarray(_blend(np.asarray(enlarged), grey))


def scale(steps: int) -> list[tuple[int, int, int]]:
    """The RGB colours of heat from 0 to 1 over a middle grey, for a legend."""
    return [tuple(map(int, c)) for c in _blend(np.linspace(0, 1, steps), MIDDLE_GREY)]


def _blend(heat: np.ndarray, grey: np.ndarray | int) -> np.ndarray:
    """Heat 0…1 of any shape → uint8 (…, 3)."""
    from matplotlib import colormaps

    colours = 255 * colormaps[COLOURS](heat.clip(0, 1))[..., :3]
    return (OPACITY * colours + (1 - OPACITY) * grey).round().astype(np.uint8)
