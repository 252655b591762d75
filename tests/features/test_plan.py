from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, tiny_network
from transfer import device as hardware
from transfer.cache.store import Store, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.source import load_splits
from transfer.data.transform import Transform
from transfer.device import BYTES_A_VALUE, LARGEST_SHARE_OF_MEMORY
from transfer.errors import CacheError
from transfer.features import plan
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.features.plan import IMAGES_A_STEP, Plan, choose_cut, make_plan, widest
from transfer.model.vgg import Segment
from transfer.settings import UNFREEZE, PhaseSettings, TrainingSettings

CPU = torch.device("cpu")
COMPUTING = (torch.nn.Conv2d, torch.nn.Linear)
TRANSFORM = Transform(image_size=SIDE)
PHASE = PhaseSettings(
    epochs=2,
    learning_rate=1e-2,
    optimizer="adamw",
    weight_decay=0.05,
    batch_size=4,
)
COUNTS = {"train": 10, "validation": 6, "test": 100}
NEEDED = {"none": 50e6, "block1": 700e6, "block5": 1500e6}
MB, GB = 10**6, 10**9


LEVELS = {
    "block1": CacheLayer(block="block1", row_shape=(3, SIDE, SIDE), kept=False),
    "block5": CacheLayer(
        block="block5",
        row_shape=(512, 2, 2),
        stage=Segment(tiny_network().prefix("block5"), TRANSFORM),
    ),
    "none": CacheLayer(
        block="none",
        row_shape=(512, 1, 1),
        stage=Segment(tiny_network().tail("block5"), TRANSFORM),
    ),
}
SPEC = CacheSpec(
    transform=TRANSFORM,
    views=2,
    seed=0,
    body="ab" * 32,
    dtype=torch.float32,
    levels=tuple(LEVELS.values()),
)
PLAN = Plan(spec=SPEC, cut="block5", why="", rows_a_batch=4)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of layers as small as these wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def store() -> Store:
    return open_store()


@pytest.fixture
def images(stripes) -> ImageDataset:
    return load_splits(str(stripes), TrainingSettings())


def unreadable(**counts: int) -> ImageDataset:
    """So many images, none of which may be opened."""

    def read(row: int):
        raise AssertionError(f"image {row} was opened")

    splits = {
        name: Split(
            labels=np.arange(rows) % 2, names=tuple(f"{row}.png" for row in range(rows)), read=read
        )
        for name, rows in counts.items()
    }
    return ImageDataset(source="photos", revision="1", classes=("cat", "dog"), splits=splits)


def never(*_):
    raise AssertionError("the disk was tried without need")


def chosen(unfreeze: str, limit: float = 20 * GB, memory: float = 20 * GB, faster=never):
    return choose_cut(
        unfreeze, needed=NEEDED.get, limit=limit, memory=memory, faster_from_disk=faster
    )


@pytest.mark.parametrize(
    ("unfreeze", "why"),
    [
        ("none", "the body's output is kept (50 MB)"),
        ("block5", "what enters block5 is kept (1.5 GB)"),
        ("block1", "pixels are kept (700 MB), for every block learns"),
    ],
)
def test_what_enters_the_lowest_unfrozen_block_is_kept_where_it_fits(unfreeze, why):
    assert chosen(unfreeze) == (unfreeze, why)
    assert chosen(unfreeze, NEEDED[unfreeze], NEEDED[unfreeze]) == (unfreeze, why), "it just fits"


def test_pixels_are_kept_where_the_cache_may_not_hold_more():
    assert chosen("block5", limit=1.4 * GB) == (
        "block1",
        "pixels are kept (700 MB): what enters block5 would take 1.5 GB, more than the cache may "
        "hold (1.4 GB)",
    )


def test_more_than_the_memory_is_kept_only_on_a_disk_faster_than_computing():
    asked = []

    def faster(needed: int) -> bool:
        asked.append(needed)
        return len(asked) == 1

    assert chosen("block5", memory=1.4 * GB, faster=faster) == chosen("block5")
    assert chosen("block5", memory=1.4 * GB, faster=faster) == (
        "block1",
        "pixels are kept (700 MB): what enters block5 would take 1.5 GB, more than the free "
        "memory, on a disk slower than computing it",
    )
    assert asked == [NEEDED["block5"]] * 2


def test_where_every_block_learns_neither_disk_nor_memory_is_a_question():
    assert chosen("block1", memory=0)[0] == "block1"


def planned(
    images: ImageDataset,
    unfreeze: str = "block5",
    precision: str = "no",
    views: int = 2,
    network=None,
    **options,
) -> Plan:
    settings = TrainingSettings(unfreeze=unfreeze, views=views, seed=7)
    accelerator = SimpleNamespace(mixed_precision=precision, device=CPU)
    network = network or tiny_network()
    return make_plan(
        network, "ab" * 32, TRANSFORM, settings, images, open_store(), accelerator, **options
    )


@pytest.fixture
def room(monkeypatch):
    """Memory and disk for all that could be kept."""
    monkeypatch.setattr(plan, "free_memory", lambda device: 10**15)
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1000000")


@pytest.mark.parametrize(
    ("unfreeze", "kept"),
    [
        ("none", {"block1": False, "none": True}),
        ("block5", {"block1": False, "block5": True, "none": True}),
        ("block2", {"block1": False, "block2": True, "none": True}),
        ("block1", {"block1": True, "none": True}),
    ],
)
def test_pixels_are_kept_only_where_nothing_above_them_is(room, unfreeze, kept):
    made = planned(unreadable(train=80, validation=10, test=10), unfreeze)
    assert made.cut == unfreeze
    assert {level.block: level.kept for level in made.spec.levels} == kept
    assert made.level("block1").stage is None
    assert all(made.level(block).block == block for block in kept)


@pytest.mark.parametrize("unfreeze", UNFREEZE)
@torch.no_grad()
def test_the_levels_one_after_another_are_the_body(room, unfreeze):
    network = tiny_network()
    made = planned(unreadable(train=8, validation=1, test=1), unfreeze, network=network)
    generator = torch.Generator().manual_seed(0)
    pixels = (255 * torch.rand(2, 3, SIDE, SIDE, generator=generator)).byte()
    values = pixels
    for level in made.spec.levels:
        values = values if level.stage is None else level.stage(values)
        assert values.shape == (2, *level.row_shape)
    assert torch.equal(values, network.features(TRANSFORM.normalise(pixels)))


@pytest.mark.parametrize(("precision", "dtype"), [("no", "float32"), ("bf16", "bfloat16")])
def test_what_is_kept_is_made_as_the_settings_say(room, precision, dtype):
    spec = planned(unreadable(train=8, validation=1, test=1), precision=precision, views=3).spec
    assert (spec.views, spec.seed, spec.body) == (3, 7, "ab" * 32)
    assert spec.transform == TRANSFORM and spec.dtype == getattr(torch, dtype)


@pytest.mark.parametrize(("precision", "itemsize"), [("no", 4), ("bf16", 2)])
def test_the_sentence_says_how_many_bytes_are_kept(room, precision, itemsize):
    images = unreadable(train=8000, validation=1000, test=1000)
    made = planned(images, precision=precision)
    size = (17_000 * itemsize + 1000 * 4) * (512 * 2 * 2 + 512)
    assert made.spec.bytes(images.counts()) == size
    assert made.why == (
        f"what enters block5 is kept ({size / MB:.0f} MB), in 2 views of every training image"
    )


def test_the_sentence_says_what_was_too_much_and_what_is_kept_instead(room, monkeypatch):
    images = unreadable(train=8000, validation=1000, test=1000)
    too_much = planned(images).spec.bytes(images.counts())
    monkeypatch.setenv("TRANSFER_CACHE_GB", "0.15")
    made = planned(images)
    kept = made.spec.bytes(images.counts())
    assert made.cut == "block1" and made.level("block1").kept
    assert kept == 18_000 * (3 * SIDE * SIDE + 4 * 512)
    assert made.why == (
        f"pixels are kept ({kept / MB:.0f} MB): what enters block5 would take "
        f"{too_much / MB:.0f} MB, more than the cache may hold (150 MB), in 2 views of every "
        "training image"
    )


@pytest.mark.parametrize(("speed", "cut"), [(3, "block5"), (1 / 3, "block1")])
def test_the_disk_is_compared_with_computing_the_same(room, monkeypatch, images, speed, cut):
    """`speed` is the disk's, relative to computing: a pass of an image takes 5 s either way."""
    an_image = 4 * 512 * (2 * 2 + 1)
    monkeypatch.setattr(plan, "free_memory", lambda device: 1)
    monkeypatch.setattr(plan, "seconds_a_pass", lambda *_: 5.0)
    monkeypatch.setattr(plan, "_disk_bytes_a_second", lambda folder: speed * an_image / 5)
    assert planned(images).cut == cut


def test_computing_is_tried_on_real_images(room, monkeypatch, images):
    monkeypatch.setattr(plan, "free_memory", lambda device: 1)
    cuts = []
    for speed in (1e15, 1e-3):
        monkeypatch.setattr(plan, "_disk_bytes_a_second", lambda folder, speed=speed: speed)
        cuts.append(planned(images).cut)
    assert cuts == ["block5", "block1"]


def test_a_disk_s_speed_is_that_of_a_file_which_is_then_removed(tmp_path, monkeypatch):
    moments = iter([10.0, 14.0])
    monkeypatch.setattr(plan, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    monkeypatch.setattr(plan, "TRIAL_BYTES", 1000)
    reached = []
    fsync = plan.os.fsync

    def noted(file: int) -> None:
        fsync(file)
        reached.extend(path.stat().st_size for path in tmp_path.iterdir())

    monkeypatch.setattr(plan.os, "fsync", noted)
    assert plan._disk_bytes_a_second(tmp_path) == 250
    assert reached == [1000] and list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_trial_that_a_disk_refused(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(plan, "TRIAL_BYTES", 1000)
    monkeypatch.setattr(plan.os, "fsync", full)
    with pytest.raises(CacheError, match="no space left"):
        plan._disk_bytes_a_second(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("views", "rows"), [(1, 10), (3, 3), (100, 1)])
def test_all_views_of_an_image_pass_the_frozen_layers_together(room, monkeypatch, views, rows):
    asked = []
    monkeypatch.setattr(plan, "images_a_batch", lambda *given: asked.append(given) or 10)
    made = planned(unreadable(train=8, validation=1, test=1), views=views)
    assert made.rows_a_batch == rows
    assert asked == [(64 * SIDE * SIDE, CPU, plan.IMAGES_A_PASS)]


def with_memory(monkeypatch, values: int) -> None:
    """Memory for a batch of so many values in its widest layer."""
    memory = values * BYTES_A_VALUE / LARGEST_SHARE_OF_MEMORY
    monkeypatch.setattr(hardware, "free_memory", lambda device: memory)


def test_the_higher_a_phase_begins_the_more_images_it_takes_at_once(monkeypatch):
    with_memory(monkeypatch, 2 * 64 * SIDE * SIDE)
    found = [PLAN.at_once(block, CPU) for block in LEVELS]
    assert found == [2, 2 * 64 * SIDE * SIDE // (2 * 512 * 2 * 2), 128]
    with_memory(monkeypatch, 10**12)
    assert PLAN.at_once("none", CPU) == IMAGES_A_STEP


@pytest.mark.parametrize("block", UNFREEZE)
@torch.no_grad()
def test_no_layer_is_wider_than_what_is_foretold(block):
    network, sizes = tiny_network(), []
    for layer in (*network.features, network.head):
        layer.register_forward_hook(
            lambda _, given, out: sizes.extend((given[0].numel(), out.numel()))
        )
    shape = network.border_shape(block, SIDE)
    network.head(network.tail(block)(torch.rand(1, *shape)))
    assert max(sizes) <= widest(CacheLayer(block=block, row_shape=shape)) <= 2 * max(sizes)


def test_nothing_is_less_than_the_body_s_output():
    assert chosen("none", limit=1, memory=1) == chosen("none")


@pytest.mark.parametrize(
    ("gigabytes", "fewer", "cut", "views"),
    [
        ("1", True, "block5", 8),
        ("0.5", True, "block5", 4),
        ("0.2", True, "block5", 1),
        ("0.1", True, "block1", 1),
        ("0.5", False, "block1", 8),
    ],
)
def test_fewer_views_are_kept_where_more_do_not_fit(
    room, monkeypatch, gigabytes, fewer, cut, views
):
    """A view of all is 80 MB, the other splits take 40 MB."""
    images = unreadable(train=8000, validation=2000, test=2000)
    monkeypatch.setenv("TRANSFER_CACHE_GB", gigabytes)
    made = planned(images, views=8, fewer_views=fewer)
    assert (made.cut, made.spec.views) == (cut, views)
    assert (f"in {views} views" in made.why) == (views > 1)
