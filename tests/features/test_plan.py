from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, tiny_network
from transfer.cache.store import Store, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.greys import GreyScale
from transfer.data.transform import Transform
from transfer.errors import CacheError
from transfer.features import plan
from transfer.features.fit import CacheChoice
from transfer.features.plan import Plan, PlanRequest, make_plan
from transfer.settings import UNFREEZE, HeadSettings, TrainingSettings

CPU = torch.device("cpu")
TRANSFORM = Transform(image_size=SIDE)
MB = 10**6
OPEN, FLAT = TrainingSettings(), HeadSettings(pooling="flatten")
FILLED = TrainingSettings(
    unfreeze="block5", views=2, seed=7, image_size=SIDE, head=HeadSettings(pooling="avg")
)


def unreadable(**counts: int) -> ImageDataset:
    """So many images, none of which may be opened."""
    splits = {
        name: Split(labels=np.arange(rows) % 2, names=tuple(map(str, range(rows))), read=None)
        for name, rows in counts.items()
    }
    return ImageDataset(source="photos", revision="1", classes=("cat", "dog"), splits=splits)


FEW = unreadable(train=8, validation=1, test=1)
MANY = unreadable(train=8000, validation=1000, test=1000)


def request(
    images: ImageDataset, asked=None, decided=None, network=None, precision="no", **settings
) -> PlanRequest:
    """What `asked` leaves open may be reduced; by default that is nothing."""
    filled = replace(FILLED, **settings)
    return PlanRequest(
        network=network or tiny_network(),
        body="ab" * 32,
        settings=filled,
        asked=asked or filled,
        images=images,
        accelerator=SimpleNamespace(mixed_precision=precision, device=CPU, is_main_process=True),
        decided=decided,
    )


def planned(images: ImageDataset, unfreeze="block5", **options) -> Plan:
    return make_plan(request(images, unfreeze=unfreeze, **options), open_store())


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """Memory and disk for everything; given bytes, the cache has room for so many."""
    monkeypatch.setattr(plan, "free_memory", lambda device: 10**15)
    monkeypatch.setattr(Store, "room_for", lambda store, entries: 10**15)
    return lambda size: monkeypatch.setattr(Store, "room_for", lambda store, entries: size)


@pytest.mark.parametrize(
    ("unfreeze", "why"),
    [
        ("none", "the output of the body is cached (36.9 MB)"),
        ("block5", "the input of block5 is cached (184 MB)"),
        ("block1", "pixels are cached (92.2 MB), as every block is trained"),
    ],
)
def test_the_input_of_the_lowest_unfrozen_block_is_cached_where_it_fits(room, unfreeze, why):
    made = planned(MANY, unfreeze)
    assert (made.cut, made.why) == (unfreeze, f"{why}, in 2 views of every training image")
    room(made.spec.bytes(MANY.counts()))
    assert planned(MANY, unfreeze).why == made.why, "it just fits"


INPUT = "the input of block5, in 2 views of every training image would take 184 MB"


@pytest.mark.parametrize(
    ("megabytes", "asked", "expected", "why"),
    [
        (183, OPEN, ("block5", 1), f"in 1 view of every training image: {INPUT}"),
        (183, None, ("block1", 2), "more than there is room for (183 MB)"),
        (100, OPEN, ("block1", 2), "pixels are cached (92.2 MB), in 2 views of every training"),
        (60, OPEN, ("block1", 1), "pixels are cached (51.2 MB), in 1 view of"),
    ],
)
def test_fewer_views_then_pixels_are_cached_where_more_would_not_fit(
    room, megabytes, asked, expected, why
):
    room(megabytes * MB)
    made = planned(MANY, asked=asked)
    assert (made.cut, made.spec.views) == expected and why in made.why


@pytest.mark.parametrize(
    ("megabytes", "settings", "expected"),
    [
        (2000, {"try_heads": False}, (224, 2, False)),
        (1100, {"try_heads": False}, (224, 1, False)),
        (1000, {"try_heads": False}, (224, 2, True)),
        (1000, {"try_heads": True}, (160, 2, False)),
        (1000, {"try_heads": False, "head": FLAT}, (160, 2, False)),
        (1000, {"method": "features", "views": 1}, (224, 1, True)),
    ],
)
def test_then_pooled_features_where_nothing_needs_the_map_then_smaller_images(
    room, megabytes, settings, expected
):
    room(megabytes * MB)
    made = planned(MANY, "none", asked=OPEN, image_size=224, **settings)
    layer = made.layer("none")
    assert (made.spec.transform.image_size, made.spec.views, layer.pooled) == expected
    assert layer.row_shape == ((512, 1, 1) if layer.pooled else (512, *[expected[0] // 32] * 2))
    assert ("pooled" in made.why) == layer.pooled
    assert (" at 160 px" in made.why) == (expected[0] == 160)


@pytest.mark.parametrize(("asked", "least"), [(None, "1.81 GB"), (OPEN, "20.5 MB")])
def test_what_cannot_fit_is_refused_with_what_the_least_would_take(room, asked, least):
    room(19 * MB)
    with pytest.raises(CacheError, match=f"expected room for {least} .*, found 19 MB .*; free"):
        planned(MANY, "none", asked=asked, image_size=224)


@pytest.mark.parametrize("unfreeze", UNFREEZE)
@pytest.mark.parametrize("pooled", [False, True])
def test_the_bytes_of_a_choice_are_those_of_its_layers(unfreeze, pooled):
    """The forecast has no layers."""
    made = request(MANY, precision="bf16")
    choice = CacheChoice(image_size=50, cut=unfreeze, views=3, pooled=pooled)
    assert choice.bytes(MANY.counts(), item_bytes=2) == made.bytes(choice)


@pytest.mark.parametrize("unfreeze", ["none", "block5", "block1"])
@torch.no_grad()
def test_the_layers_one_after_another_are_the_body(unfreeze):
    network = tiny_network()
    made = planned(FEW, unfreeze, network=network)
    pixels = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    values = pixels
    for layer in made.spec.layers:
        values = values if layer.segment is None else layer.segment(values)
        assert values.shape == (2, *layer.row_shape)
        assert layer.cached == (layer.block in (unfreeze, "none"))
        assert made.layer(layer.block) is layer
    assert made.cut == unfreeze
    assert torch.equal(values, network.features(TRANSFORM.normalise(pixels)))


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_the_plan_follows_the_settings(precision, dtype):
    made = planned(MANY, precision=precision)
    assert planned(FEW, decided=("block1", "decided before")).why == "decided before"
    assert (made.spec.views, made.spec.seed, made.spec.body) == (2, 7, "ab" * 32)
    assert made.spec.transform == TRANSFORM and made.spec.dtype == dtype
    size = (17_000 * dtype.itemsize + 1000 * 4) * (512 * 2 * 2 + 512)
    assert made.spec.bytes(MANY.counts()) == size


@pytest.mark.parametrize(("speed", "cut"), [(3, "block5"), (1 / 3, "block1")])
def test_the_disk_is_compared_with_computing_the_same(monkeypatch, speed, cut):
    """`speed` is the disk's, relative to computing, where an image takes 5 s."""
    an_image = 4 * 512 * (2 * 2 + 1)
    monkeypatch.setattr(plan, "free_memory", lambda device: 1)
    monkeypatch.setattr(plan, "seconds_a_pass", lambda *_: 5.0)
    monkeypatch.setattr(Store, "bytes_a_second", lambda store: speed * an_image / 5)
    made = planned(FEW)
    assert (made.cut, made.spec.views) == (cut, 2)
    assert ("slower than computing" in made.why) == (cut == "block1")


def test_greys_are_scaled_as_the_finished_classifier_scales_them():
    greys = GreyScale(integers=(0.0, 4095.0))
    images = replace(unreadable(train=4, validation=1, test=1), greys=greys)
    assert planned(images).spec.transform.greys == greys
