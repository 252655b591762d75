from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, tiny_network
from transfer.cache.store import Store, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.transform import Transform
from transfer.features import plan
from transfer.features.plan import Plan, PlanRequest, choose_cut, make_plan
from transfer.settings import TrainingSettings

CPU = torch.device("cpu")
TRANSFORM = Transform(image_size=SIDE)
NEEDED = {"none": 50e6, "block1": 700e6, "block5": 1500e6}
MB, GB = 10**6, 10**9


def unreadable(**counts: int) -> ImageDataset:
    """So many images, none of which may be opened."""
    splits = {
        name: Split(labels=np.arange(rows) % 2, names=tuple(map(str, range(rows))), read=None)
        for name, rows in counts.items()
    }
    return ImageDataset(source="photos", revision="1", classes=("cat", "dog"), splits=splits)


FEW = unreadable(train=8, validation=1, test=1)
MANY = unreadable(train=8000, validation=1000, test=1000)


def chosen(unfreeze: str, limit: float = 20 * GB, memory: float = 20 * GB, faster=None):
    """Without `faster` the disk may not be measured."""
    return choose_cut(unfreeze, NEEDED.get, limit, memory, faster)


def planned(
    images: ImageDataset, unfreeze="block5", views=2, network=None, precision="no", **options
) -> Plan:
    request = PlanRequest(
        network=network or tiny_network(),
        body="ab" * 32,
        transform=TRANSFORM,
        settings=TrainingSettings(unfreeze=unfreeze, views=views, seed=7),
        images=images,
        accelerator=SimpleNamespace(mixed_precision=precision, device=CPU),
        **options,
    )
    return make_plan(request, open_store())


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """Memory and disk for everything."""
    monkeypatch.setattr(plan, "free_memory", lambda device: 10**15)
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1000000")


@pytest.mark.parametrize(
    ("unfreeze", "why"),
    [
        ("none", "the output of the body is cached (50 MB)"),
        ("block5", "the input of block5 is cached (1.5 GB)"),
        ("block1", "pixels are cached (700 MB), as every block is trained"),
    ],
)
def test_the_input_of_the_lowest_unfrozen_block_is_cached_where_it_fits(unfreeze, why):
    assert chosen(unfreeze) == (unfreeze, why)
    assert chosen(unfreeze, NEEDED[unfreeze], NEEDED[unfreeze]) == (unfreeze, why), "it just fits"


def test_pixels_are_cached_where_the_input_does_not_fit():
    pixels = "pixels are cached (700 MB): the input of block5 would take 1.5 GB, more than"
    why = f"{pixels} the cache may hold (1.4 GB)"
    assert chosen("none", limit=1, memory=1) == chosen("none")
    assert chosen("block5", limit=1.4 * GB) == ("block1", why)
    assert chosen("block5", memory=1.4 * GB, faster=lambda: True) == chosen("block5")
    why = f"{pixels} the free memory, on a disk slower than computing it"
    assert chosen("block5", memory=1.4 * GB, faster=lambda: False) == ("block1", why)


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
def test_the_plan_follows_the_settings_and_says_how_many_bytes_are_cached(precision, dtype):
    made = planned(MANY, precision=precision)
    assert planned(FEW, decided=("block1", "decided before")).why == "decided before"
    assert (made.spec.views, made.spec.seed, made.spec.body) == (2, 7, "ab" * 32)
    assert made.spec.transform == TRANSFORM and made.spec.dtype == dtype
    size = (17_000 * dtype.itemsize + 1000 * 4) * (512 * 2 * 2 + 512)
    assert made.spec.bytes(MANY.counts()) == size
    assert made.why == (
        f"the input of block5 is cached ({size / MB:.0f} MB), in 2 views of every training image"
    )


@pytest.mark.parametrize(("speed", "cut"), [(3, "block5"), (1 / 3, "block1")])
def test_the_disk_is_compared_with_computing_the_same(monkeypatch, speed, cut):
    """`speed` is the disk's, relative to computing, where an image takes 5 s."""
    an_image = 4 * 512 * (2 * 2 + 1)
    monkeypatch.setattr(plan, "free_memory", lambda device: 1)
    monkeypatch.setattr(plan, "seconds_a_pass", lambda *_: 5.0)
    monkeypatch.setattr(Store, "bytes_a_second", lambda store: speed * an_image / 5)
    assert planned(FEW).cut == cut


@pytest.mark.parametrize(
    ("gigabytes", "may_reduce_views", "expected"),
    [("1", True, ("block5", 8)), ("0.5", True, ("block5", 4)), ("0.5", False, ("block1", 8))],
)
def test_fewer_views_are_cached_where_more_do_not_fit(
    monkeypatch, gigabytes, may_reduce_views, expected
):
    """A view of all is 80 MB, the other splits take 40 MB."""
    monkeypatch.setenv("TRANSFER_CACHE_GB", gigabytes)
    images = unreadable(train=8000, validation=2000, test=2000)
    made = planned(images, views=8, may_reduce_views=may_reduce_views)
    assert (made.cut, made.spec.views) == expected and f"in {expected[1]} views" in made.why
