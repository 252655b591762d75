import numpy as np
import pytest
import timm
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import nn

from tests.tiny import CLASSES, picture, tiny_network
from transfer.data.transform import Transform
from transfer.errors import SettingsError
from transfer.inference.classifier import Classifier
from transfer.inference.grad_cam import heat_map, overlay, scale

SIDE = 64
PHOTO = picture(0, 3)


def classifier(network: nn.Module, side: int = SIDE) -> Classifier:
    return Classifier(network=network, transform=Transform(image_size=side), classes=CLASSES)


def map_of(ours: Classifier, image: Image.Image, label: str | None = None):
    return heat_map(ours, ours.prepare(image), label)


@pytest.fixture(params=["avg", "flatten", "timm"])
def network(request) -> nn.Module:
    """Each kind of network that a classifier may hold."""
    if request.param != "timm":
        return tiny_network(side=SIDE, pooling=request.param, hidden=(8,), seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        vgg = timm.create_model("vgg11_bn", num_classes=len(CLASSES), mlp_ratio=1 / 64)
    return vgg.requires_grad_(False).eval()


class FindsRed(nn.Module):
    """A body and a head that measure one thing: how much red there is."""

    def __init__(self):
        super().__init__()
        red = nn.Conv2d(3, 1, 1)
        red.weight.data = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
        red.bias.data = torch.tensor([-1.0])
        self.features = nn.Sequential(red, nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
        self.head[-1].bias.data.zero_()
        self.head[-1].weight.data = torch.tensor([[1.0], [-1.0], [0.0]])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels))


def red_corner() -> Image.Image:
    """Green and blue noise, 96 × 48, with a red patch at the upper right."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    pixels[..., 0] = 0
    pixels[:12, 72:] = (255, 0, 0)
    return Image.fromarray(pixels)


def test_it_equals_grad_cam_over_the_complete_network(network):
    ours = classifier(network)
    *_, last_relu = (layer for layer in network.features if isinstance(layer, nn.ReLU))
    for number, label in enumerate(CLASSES):
        complete = LayerGradCam(network, last_relu)
        expected = complete.attribute(ours.prepare(PHOTO), number, relu_attributions=True)
        expected = expected[0, 0].detach().numpy()
        found = map_of(ours, PHOTO, label).heat
        assert np.allclose(found * expected.max(), expected, atol=1e-4 * max(expected.max(), 1e-9))


def test_the_corner_that_decides_is_the_hottest_and_without_evidence_the_map_is_empty():
    ours, image = classifier(FindsRed(), side=32), red_corner()
    found = map_of(ours, image)
    assert found.label == CLASSES[0] and found.heat.max() == 1
    rows, columns = np.nonzero(found.heat > 0.5)
    assert (rows < 16).all() and (columns >= 16).all()
    shown = np.asarray(overlay(image.convert("L").convert("RGB"), found.heat), dtype=int)
    row, column = np.unravel_index((shown[..., 0] - shown[..., 2]).argmax(), (48, 96))
    assert row < 24 and column >= 48
    empty = map_of(ours, image, CLASSES[1])
    assert empty.empty and not np.isnan(empty.heat).any()


def test_the_best_class_is_used_unless_another_is_named(network):
    ours = classifier(network)
    scores = ours.scores(PHOTO)
    best = map_of(ours, PHOTO)
    assert best.label == CLASSES[int(scores.argmax())]
    assert best.score == pytest.approx(float(scores.max()), abs=1e-5)
    assert map_of(ours, PHOTO, CLASSES[2]).score == pytest.approx(float(scores[2]), abs=1e-5)
    with pytest.raises(SettingsError, match="one of the 3 classes, found 'waves'"):
        map_of(ours, PHOTO, "waves")


def test_no_hooks_and_no_gradients_reach_the_shared_network(network):
    """Another thread may classify with the same network meanwhile."""
    hooks = []
    for module in network.modules():
        module.register_forward_hook = lambda *_, **__: hooks.append("hook")
        module.register_forward_pre_hook = lambda *_, **__: hooks.append("hook")
    map_of(classifier(network), PHOTO)
    assert hooks == [] and all(parameter.grad is None for parameter in network.parameters())


def test_the_legend_s_colours_are_those_of_the_overlay_on_grey():
    grey = Image.new("RGB", (9, 1), (128, 128, 128))
    ramp = np.linspace(0, 1, 9, dtype=np.float32)[None]
    assert np.asarray(overlay(grey, ramp))[0].tolist() == [list(colour) for colour in scale(9)]
