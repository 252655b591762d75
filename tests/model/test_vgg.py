from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURE, tiny_body, tiny_network
from transfer.data.transform import Transform
from transfer.features.fit import border_shape
from transfer.model.vgg import (
    Segment,
    original_head_parameters,
    parameter_count,
)
from transfer.settings import BLOCKS, UNFREEZE


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def noise(*shape) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("block", UNFREEZE)
@torch.no_grad()
def test_prefix_and_tail_together_are_the_body(network, block):
    pixels = noise(2, 3, 50, 50)
    border = network.between("block1", block)(pixels)
    assert tuple(border.shape[1:]) == border_shape(block, 50)
    assert torch.equal(network.between(block, "none")(border), network.features(pixels))


def test_each_block_ends_in_its_max_pool(network):
    assert [network.border(block) for block in UNFREEZE] == [0, 3, 6, 11, 16, 21]
    for name, part in network.parts():
        if name in BLOCKS:
            pools = [isinstance(layer, nn.MaxPool2d) for layer in part]
            assert pools == [False] * (len(part) - 1) + [True], name


def test_tensors_are_named_as_timm_names_them(network):
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(ARCHITECTURE).state_dict()
    ours = [name for name in network.state_dict() if name.startswith("features.")]
    assert ours == [name for name in theirs if name.startswith("features.")]
    assert all(name.split(".")[0] in ("features", "head") for name in network.state_dict())


@pytest.mark.parametrize("block", ["block1", "block4", "none"])
def test_frozen_is_without_gradient_in_eval_mode_and_out_of_the_optimizer(block):
    network = tiny_network().train()
    learning = network.freeze_below(block)
    above = UNFREEZE.index(block)
    assert learning == [*BLOCKS[above:], "head"]
    for name, part in network.parts():
        assert {p.requires_grad for p in part.parameters()} == {name in learning}, name
        layers = [layer for layer in part.modules() if not isinstance(layer, nn.Sequential)]
        assert {layer.training for layer in layers} == {name in learning}, name
    inside = [p for group in network.trainable_groups(1e-3) for p in group["params"]]
    learns = [p for name, part in network.parts() if name in learning for p in part.parameters()]
    assert sorted(map(id, inside)) == sorted(map(id, learns))
    assert parameter_count(network, trainable=True) == sum(p.numel() for p in learns)


def test_lower_blocks_have_smaller_learning_rates_and_biases_no_weight_decay():
    network, rates = tiny_network(), {}
    network.freeze_below("block4")
    owner = {id(p): name for name, part in network.parts() for p in part.parameters()}
    for group in network.trainable_groups(1e-3, body_rate=0.5, decay=0.1):
        rates |= {owner[id(p)]: group["lr"] for p in group["params"]}
        assert {p.ndim == 1 for p in group["params"]} == {group.get("weight_decay") == 0.0}
    assert rates == pytest.approx({"head": 1e-3, "block5": 5e-4, "block4": 5e-5})


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize(("pooling", "width"), [("avg", 512), ("flatten", 512 * 2 * 2)])
@torch.no_grad()
def test_a_head_of_any_shape_gives_a_logit_for_each_class(pooling, width, hidden):
    network = tiny_network(classes=4, side=64, pooling=pooling, hidden=hidden)
    assert network(noise(3, 3, 64, 64)).shape == (3, 4)
    widths = [width, *hidden, 4]
    assert parameter_count(network.head) == sum((a + 1) * b for a, b in pairwise(widths))
    assert len(network.head.mean) == len(network.head.scale) == width


def test_pooling_averages_or_keeps_every_place():
    features = torch.arange(16.0).reshape(1, 4, 2, 2)
    average, flat = (tiny_network(pooling=pooling).head.pool for pooling in ("avg", "flatten"))
    assert average(features).tolist() == [[1.5, 5.5, 9.5, 13.5]]
    assert flat(features).tolist() == [list(range(16))]


def test_the_head_that_is_replaced_is_counted():
    assert original_head_parameters("vgg16") == 123_642_856


def test_features_are_standardised_however_they_are_batched():
    head, pooled = tiny_network().head, 100 + 3 * noise(200, 512)
    head.standardise(iter(pooled.split(32)))
    standard = (pooled - head.mean) * head.scale
    assert standard.mean(0).abs().max() < 1e-3
    assert standard.std(0, correction=0).sub(1).abs().max() < 1e-3


@pytest.mark.parametrize("constant", [slice(0, 1), slice(None)], ids=["one", "all"])
def test_a_constant_channel_is_not_amplified(constant):
    head = tiny_network().head
    pooled = noise(20, 512)
    pooled[:, constant] = 4.0
    head.standardise([pooled])
    standard = (pooled + 1e-3 - head.mean) * head.scale
    assert torch.isfinite(standard).all()
    if constant == slice(0, 1):
        assert standard[:, 0].abs().max() < 0.01
    assert torch.isfinite(head(noise(2, 512, 1, 1))).all()


def test_the_seed_decides_the_head_and_leaves_the_global_random_state():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = tiny_network(), tiny_network(), tiny_network(seed=1)
    assert torch.equal(torch.rand(1), wanted)
    assert torch.equal(first.head.layers[1].weight, again.head.layers[1].weight)
    assert not torch.equal(first.head.layers[1].weight, other.head.layers[1].weight)


@torch.no_grad()
def test_drift_is_relative_to_the_weights_at_the_start():
    network = tiny_network()
    body = tiny_body().tensors["features.16.weight"].clone()
    drift = network.drift_from_now(["block5", "head"])
    assert drift() == {"block5": 0.0, "head": 0.0}
    for layer in network.between("block5", "none"):
        if isinstance(layer, nn.Conv2d):
            layer.weight.mul_(1.25)
    assert drift() == pytest.approx({"block5": 0.25, "head": 0.0}, rel=1e-4)
    assert torch.equal(tiny_body().tensors["features.16.weight"], body), "the network has a copy"


@torch.no_grad()
def test_a_segment_normalises_pixels_and_leaves_features(network):
    transform = Transform(image_size=32)
    pixels = (noise(2, 3, 32, 32).abs() * 80).to(torch.uint8)
    found = Segment(network.features, transform)(pixels)
    assert torch.equal(found, network.features(transform.normalise(pixels)))
    stored = noise(2, 512, 2, 2).half()
    tail = network.between("block5", "none")
    assert torch.allclose(Segment(tail, transform)(stored), tail(stored.float()), atol=1e-5)
