import numpy as np
import pytest
import torch
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


def before_last_pool(network: nn.Module) -> int:
    return [i for i, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)][-1]


@pytest.fixture(params=["avg, linear", "avg, hidden", "flatten, hidden", "timm"])
def network(request) -> nn.Module:
    """Each kind of network that a classifier may hold."""
    if request.param == "timm":
        timm = pytest.importorskip("timm")
        with torch.random.fork_rng():
            torch.manual_seed(3)
            vgg = timm.create_model("vgg11_bn", num_classes=len(CLASSES))
        return vgg.requires_grad_(False).eval()
    pooling, layers = request.param.split(", ")
    hidden = () if layers == "linear" else (8,)
    return tiny_network(side=SIDE, pooling=pooling, hidden=hidden, seed=1)


class FindsRed(nn.Module):
    """Body and head that know one thing: how much red there is, and where."""

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


def red_in(corner: tuple[int, int], width: int, height: int) -> Image.Image:
    """Green and blue noise with a red patch in one corner, given as (right, low) of 0 or 1."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    pixels[..., 0] = 0
    rows = slice(height * 3 // 4, None) if corner[1] else slice(height // 4)
    columns = slice(width * 3 // 4, None) if corner[0] else slice(width // 4)
    pixels[rows, columns] = (255, 0, 0)
    return Image.fromarray(pixels)


def test_for_a_linear_head_on_averages_it_is_the_class_activation_map():
    """Zhou et al. 2016: the head's weights over the maps that it averages."""
    network = tiny_network(side=SIDE, pooling="avg", hidden=(), seed=1)
    with torch.no_grad():
        network.head.scale.uniform_(0.5, 2)
        network.head.mean.uniform_(0, 1)
    ours = classifier(network)
    with torch.no_grad():
        maps = network.features[: before_last_pool(network)](ours.normalised(PHOTO))[0]
        weights = network.head.layers[-1].weight * network.head.scale
        expected = torch.einsum("kc,chw->khw", weights, maps).clamp(min=0).numpy()
    for label, wanted in zip(CLASSES, expected, strict=True):
        found = heat_map(ours, PHOTO, label).heat
        assert found.shape == (SIDE // 16, SIDE // 16) and found.dtype == np.float32
        assert np.allclose(found * wanted.max(), wanted, atol=1e-5 * wanted.max())
    assert sum(bool(wanted.any()) for wanted in expected) >= 2


def test_it_is_grad_cam_over_the_whole_network_whatever_the_head(network):
    captum = pytest.importorskip("captum.attr")
    ours = classifier(network)
    layer = network.features[before_last_pool(network) - 1]
    assert isinstance(layer, nn.ReLU)
    for number, label in enumerate(CLASSES):
        whole = captum.LayerGradCam(network, layer)
        expected = whole.attribute(ours.normalised(PHOTO), number, relu_attributions=True)
        expected = expected[0, 0].detach().numpy()
        found = heat_map(ours, PHOTO, label).heat
        assert np.allclose(found * expected.max(), expected, atol=1e-4 * max(expected.max(), 1e-9))


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_it_is_hottest_in_the_one_corner_that_decides(corner):
    image = red_in(corner, width=96, height=48)
    found = heat_map(classifier(FindsRed(), side=32), image)
    assert found.label == CLASSES[0] and found.heat.max() == 1
    rows, columns = np.nonzero(found.heat > 0.5)
    assert ((rows >= 16) == corner[1]).all() and ((columns >= 16) == corner[0]).all()
    shown = np.asarray(overlay(image.convert("L").convert("RGB"), found.heat), dtype=int)
    assert shown.shape == (48, 96, 3)
    warm = shown[..., 0] - shown[..., 2]
    row, column = np.unravel_index(warm.argmax(), warm.shape)
    assert (row >= 24) == corner[1] and (column >= 48) == corner[0]


def test_where_nothing_speaks_for_a_class_the_map_is_empty():
    found = heat_map(classifier(FindsRed(), side=32), red_in((0, 0), 40, 40), CLASSES[1])
    assert found.empty and not np.isnan(found.heat).any()


def test_the_best_class_is_taken_unless_another_is_named(network):
    ours = classifier(network)
    scores = ours.scores(PHOTO)
    best = heat_map(ours, PHOTO)
    assert best.label == CLASSES[int(scores.argmax())]
    assert best.score == pytest.approx(float(scores.max()), abs=1e-5)
    assert heat_map(ours, PHOTO, CLASSES[2]).score == pytest.approx(float(scores[2]), abs=1e-5)


def test_a_class_that_is_none_is_refused_in_a_line(network):
    with pytest.raises(SettingsError, match="one of the 3 classes, found 'waves'"):
        heat_map(classifier(network), PHOTO, "waves")


def test_the_network_stays_as_it_was_and_free_for_others(network):
    """No gradients, no hooks that a classification in another thread would run into."""
    needed = [parameter.requires_grad for parameter in network.parameters()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    touched = []
    for module in network.modules():
        module.register_forward_hook = lambda *_, **__: touched.append("hook")
        module.register_forward_pre_hook = lambda *_, **__: touched.append("hook")
    heat_map(classifier(network), PHOTO)
    assert touched == []
    assert [parameter.requires_grad for parameter in network.parameters()] == needed
    assert all(parameter.grad is None for parameter in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_it_works_inside_inference_mode():
    ours = classifier(tiny_network(side=SIDE, hidden=()))
    expected = heat_map(ours, PHOTO).heat
    with torch.no_grad():
        assert np.array_equal(heat_map(ours, PHOTO).heat, expected)


def test_the_legend_s_colours_are_those_of_the_overlay_on_grey():
    grey = Image.new("RGB", (9, 1), (128, 128, 128))
    ramp = np.linspace(0, 1, 9, dtype=np.float32)[None]
    shown = np.asarray(overlay(grey, ramp))[0]
    assert [tuple(int(v) for v in colour) for colour in shown] == scale(9)
    brightness = [sum(colour) for colour in scale(9)]
    assert brightness == sorted(brightness)
