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


def classifier(network: nn.Module) -> Classifier:
    return Classifier(network=network, transform=Transform(image_size=SIDE), classes=CLASSES)


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


def test_it_equals_grad_cam_over_the_complete_network(network):
    ours = classifier(network)
    *_, last_relu = (layer for layer in network.features if isinstance(layer, nn.ReLU))
    for number, label in enumerate(CLASSES):
        complete = LayerGradCam(network, last_relu)
        expected = complete.attribute(ours.prepare(PHOTO), number, relu_attributions=True)
        expected = expected[0, 0].detach().numpy()
        found = map_of(ours, PHOTO, label).heat
        assert np.allclose(found * expected.max(), expected, atol=1e-4 * max(expected.max(), 1e-9))


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


def test_without_evidence_the_map_is_empty(network):
    for parameter in network.head.parameters():
        parameter.data.zero_()
    empty = map_of(classifier(network), PHOTO)
    assert empty.empty and not np.isnan(empty.heat).any()


def test_the_overlay_is_hot_where_the_map_is_in_the_legend_s_colours():
    grey = Image.new("RGB", (9, 1), (128, 128, 128))
    ramp = np.linspace(0, 1, 9, dtype=np.float32)[None]
    assert np.asarray(overlay(grey, ramp))[0].tolist() == [list(colour) for colour in scale(9)]
    corner = np.float32([[0, 1], [0, 0]])  # the upper right
    red = np.asarray(overlay(grey.resize((96, 48)), corner))[..., 0].astype(int)
    assert red[:12, 72:].min() > red[24:].max() and red[:12, 72:].min() > red[:, :24].max()
