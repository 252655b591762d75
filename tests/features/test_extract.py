import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.features.layers import BLOCK5, LAYERS, PIXELS, SPEC, TRANSFORM
from tests.tiny import SIDE, drained, draw_classes, tiny_network
from tests.waiting import Threads
from transfer.cache.store import CacheEntry, Store, open_store
from transfer.data.dataset import ImageDataset
from transfer.data.source import load_splits
from transfer.data.transform import Transform
from transfer.errors import CacheError
from transfer.features import extract, shared_cache
from transfer.features.cached_dataset import CachedDataset, CacheLayer
from transfer.features.extract import FeatureExtractor, cache_layers, passes_left
from transfer.model.vgg import Segment
from transfer.settings import TrainingSettings
from transfer.training.accelerator import make_accelerator

PIXELS_ALONE = replace(SPEC, layers=(PIXELS,))
BATCH = 3
DAMAGED = "across/1.png"
WAITING, READING = "waiting for another training", "preparing images"


class Refusing(Segment):
    def forward(self, stored):
        raise AssertionError("this layer was there already")


@functools.cache
def accelerator():
    return make_accelerator(0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Trying a lock twice is an error, so that no test hangs."""
    monkeypatch.setattr(extract, "SECONDS_BETWEEN_LOCK_TRIES", None)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageDataset:
    """Eighteen pictures, one of which cannot be read."""
    folder = draw_classes(tmp_path_factory.mktemp("images") / "stripes", each=6)
    (folder / DAMAGED).write_bytes(b"<html>gone</html>")
    images = load_splits(str(folder), TrainingSettings())
    assert DAMAGED in images.splits["train"].names[:BATCH]
    return images


@pytest.fixture(scope="module")
def complete(images, tmp_path_factory) -> tuple[list, tuple]:
    """(events, (cached, problems)) of an undisturbed extraction; not to be changed."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "locks").mkdir()
    return run_all(images, store=Store(folder))


def started(images, spec=SPEC, store=None, rows=BATCH):
    return cache_layers(images, spec, store or open_store(), accelerator(), rows)


def run_all(images, spec=SPEC, store=None, rows=BATCH) -> tuple[list, tuple]:
    return drained(started(images, spec, store, rows))


def changed(images: ImageDataset, read) -> ImageDataset:
    """The same images, read by `read(split, row)`."""
    splits = images.splits.items()
    return images.with_splits(
        {name: replace(split, read=functools.partial(read, split)) for name, split in splits}
    )


def counted(images: ImageDataset) -> tuple[ImageDataset, list[str]]:
    """(the same images, the names of those that were read so far but for the damaged one, which
    every extraction tries again)."""
    opened: list[str] = []

    def read(split, row):
        if split.names[row] != DAMAGED:
            opened.append(split.names[row])
        return split.read(row)

    return changed(images, read), opened


def all_names(images: ImageDataset, first: int = 0) -> list[str]:
    """All names but those of the first training images and of the damaged one."""
    names = [name for split in images.splits.values() for name in split.names]
    return sorted(name for name in names[first:] if name != DAMAGED)


def passes(images: ImageDataset) -> dict[str, int]:
    return {name: rows * SPEC.views_of(name) for name, rows in images.counts().items()}


def values(cached: CachedDataset) -> torch.Tensor:
    """All views of all rows, readable or not."""
    rows = list(range(cached.inputs.shape[1]))
    return torch.stack([cached.inputs[view, rows] for view in range(cached.views)])


def check_same(result, wanted, blocks=("block1", "block5", "none")) -> None:
    (cached, problems), (wanted_cached, wanted_problems) = result, wanted
    assert problems == wanted_problems and tuple(cached) == tuple(blocks)
    for block in blocks:
        for name, split in wanted_cached[block].items():
            found = cached[block][name]
            assert torch.equal(values(found), values(split)), (block, name)
            assert torch.equal(found.rows, split.rows) and torch.equal(found.labels, split.labels)
            assert found.names == split.names


def run_again(images: ImageDataset, complete, spec=SPEC) -> tuple[list, list[str]]:
    """(events, names of the images that were read) of a run that ends as an undisturbed one."""
    again, opened = counted(images)
    events, result = run_all(again, spec)
    check_same(result, complete[1], [layer.block for layer in spec.layers if layer.cached])
    if events:
        assert events[-1].done == events[-1].total
    return events, opened


def entry_of(images: ImageDataset, layer: CacheLayer) -> CacheEntry:
    """Of the training images."""
    return FeatureExtractor(images, "train", SPEC, open_store()).entries[layer.block]


def test_view_0_is_the_plain_image_and_the_others_differ(images, complete):
    split, train = images.splits["train"], complete[1][0]["block1"]["train"]
    assert train.inputs.shape == (3, len(split), 3, SIDE, SIDE)
    assert train.inputs.dtype == torch.uint8 and train.random_views
    assert complete[1][0]["none"]["test"].views == 1
    for row in train.rows.tolist():
        plain, second, third = (train.inputs[view, [row]][0] for view in range(3))
        assert np.array_equal(plain.numpy(), TRANSFORM.pixels(split.read(row)))
        assert not torch.equal(second, plain)
        assert not torch.equal(third, plain) and not torch.equal(third, second)


def test_views_are_drawn_by_the_seed_whatever_the_batches(images, complete):
    expected, found = values(complete[1][0]["block1"]["train"]), []
    for seed in (0, 1):
        _, (cached, _) = run_all(images, replace(PIXELS_ALONE, seed=seed), rows=5)
        found.append(values(cached["block1"]["train"]))
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1][0], expected[0]) and not torch.equal(found[1][1], expected[1])


def test_an_unreadable_image_is_named_and_left_out(images, complete):
    cached, problems = complete[1]
    assert [problem.where for problem in problems] == [DAMAGED]
    assert "web page" in problems[0].why
    for block in ("block1", "block5", "none"):
        for name, split in images.splits.items():
            rows = [row for row, at in enumerate(split.names) if at != DAMAGED]
            found, wanted = cached[block][name], split.take(np.array(rows))
            assert (found.rows.tolist(), found.names) == (rows, wanted.names)
            assert found.labels.tolist() == wanted.labels.tolist()


@pytest.mark.parametrize("below", [1, 3])
def test_an_image_that_can_be_read_now_takes_part(images, complete, below):
    before = changed(images, lambda split, row: b"" if row == 4 else split.read(row))
    _, (_, problems) = run_all(before, replace(SPEC, layers=LAYERS[:below]))
    assert len(problems) == 2
    _, opened = run_again(images, complete)
    assert {*opened, DAMAGED} >= {*images.splits["train"].names}
    assert sum(passes_left(images, SPEC, open_store()).values()) == 0


@torch.no_grad()
@pytest.mark.parametrize("block", ["block5", "none"])
def test_cached_features_are_what_a_direct_forward_gives(complete, block):
    device = accelerator().device
    layers = Segment(tiny_network().between("block1", block), TRANSFORM).to(device)
    cached, _ = complete[1]
    for name, found in cached[block].items():
        assert found.inputs.dtype == (torch.float32 if name == "test" else torch.bfloat16)
        for view in range(found.views):
            pixels = cached["block1"][name].inputs[view, found.rows]
            wanted = layers(pixels.to(device)).cpu()
            off = (found.inputs[view, found.rows].float() - wanted).norm() / wanted.norm()
            assert off < (1e-5 if name == "test" and device.type == "cpu" else 0.02), name


@torch.no_grad()
def test_pooled_features_are_what_the_head_makes_of_the_map(images):
    """At 64 px, where the map has 2×2 places."""
    transform, found = Transform(image_size=64), []
    segment = Segment(tiny_network().between("block1", "none"), transform)
    for pooled in (False, True):
        shape = (512, 1, 1) if pooled else (512, 2, 2)
        layer = CacheLayer(block="none", row_shape=shape, segment=segment, pooled=pooled)
        pixels = CacheLayer(block="block1", row_shape=(3, 64, 64), cached=False)
        spec = replace(SPEC, transform=transform, views=2, layers=(pixels, layer))
        found.append(run_all(images, spec)[1][0]["none"])
    head, (maps, means) = tiny_network(side=64).head, found
    for name in images.splits:
        assert means[name].inputs.dtype == torch.float32
        for view in range(maps[name].views):
            at = view, means[name].rows
            pooled = head.pool(maps[name].inputs[at])
            assert torch.equal(head.pool(means[name].inputs[at]), pooled), (name, view)


def refusing(layer: CacheLayer) -> CacheLayer:
    return replace(layer, segment=Refusing(layer.segment.layers, TRANSFORM))


def test_what_is_cached_is_not_computed_again(images, complete):
    store = open_store()
    assert passes_left(images, SPEC, store) == passes(images)
    run_all(images)
    for entry in store.entries():
        os.utime(entry.path / "entry.json", (1000, 1000))
    assert passes_left(images, SPEC, store) == {"train": 0, "validation": 0, "test": 0}
    layers = (PIXELS, *map(refusing, LAYERS[1:]))
    assert run_again(images, complete, replace(SPEC, layers=layers)) == ([], [])
    assert all(entry.used > 1000 for entry in store.entries()), "used now"


@pytest.mark.parametrize("batches", [2, -1], ids=["in the middle", "at the end of a split"])
def test_an_interrupted_extraction_continues_where_it_stopped(images, complete, batches):
    threads, generator, rows = Threads(), started(images), len(images.splits["train"])
    rows = min(rows, BATCH * batches) if batches > 0 else rows
    while next(generator).done < rows * SPEC.views:
        pass
    generator.close()
    assert not threads.alive
    left = passes(images)
    left["train"] -= rows * SPEC.views
    assert passes_left(images, SPEC, open_store()) == left
    assert all(entry.record() for entry in open_store().entries()), "the rest is given back"
    events, opened = run_again(images, complete)
    assert sorted(opened) == all_names(images, first=rows)
    assert events[-1].total == sum(left.values())


@pytest.mark.parametrize("below", [1, 2])
def test_a_higher_layer_is_computed_from_a_cached_one_without_the_images(images, complete, below):
    run_all(images, replace(SPEC, layers=LAYERS[:below]))
    assert passes_left(images, SPEC, open_store()) == passes(images)
    layers = (PIXELS, BLOCK5 if below == 1 else refusing(BLOCK5), LAYERS[2])
    events, opened = run_again(images, complete, replace(SPEC, layers=layers))
    assert opened == [] and events[-1].total == sum(passes(images).values())
    unreadable = [entry_of(images, layer).unreadable() for layer in LAYERS]
    assert unreadable[0] and unreadable == 3 * [unreadable[0]]


def test_a_lower_layer_that_was_removed_is_computed_again(images, complete):
    run_all(images)
    assert entry_of(images, PIXELS).remove()
    left = {"train": passes(images)["train"], "validation": 0, "test": 0}
    assert passes_left(images, SPEC, open_store()) == left
    run_again(images, complete)


@pytest.mark.parametrize("finishes", [True, False])
def test_a_training_waits_while_another_fills_the_same(images, complete, monkeypatch, finishes):
    monkeypatch.setattr(extract, "SECONDS_BETWEEN_LOCK_TRIES", 0.001)
    first = started(images, PIXELS_ALONE)
    next(first)
    again, opened = counted(images)
    second = started(again, PIXELS_ALONE)
    for _ in range(3):
        event = next(second)
        assert event.stage.startswith(WAITING) and event.done == 0
    assert opened == []
    drained(first) if finishes else first.close()
    _, result = drained(second)
    assert sorted(opened) == ([] if finishes else all_names(images, first=BATCH))
    check_same(result, complete[1], ("block1",))


def test_the_processes_of_a_training_share_the_images(images, complete, monkeypatch):
    monkeypatch.setattr(shared_cache, "from_main_process", lambda _: "launch")
    barrier = threading.Barrier(2, timeout=30)
    store, shares = open_store(), [counted(images) for _ in range(2)]

    def one(index: int):
        process = SimpleNamespace(
            device=accelerator().device,
            process_index=index,
            num_processes=2,
            is_main_process=index == 0,
            wait_for_everyone=barrier.wait,
            check_trigger=lambda: barrier.wait() < 0,  # False, once both are here
        )
        return drained(cache_layers(shares[index][0], SPEC, store, process, BATCH))

    with ThreadPoolExecutor(2) as pool:
        (events, result), (_, same) = pool.map(one, range(2))
    assert events[-1].done == events[-1].total
    check_same(result, complete[1])
    check_same(same, complete[1])
    (_, some), (_, others) = shares
    assert sorted(some + others) == all_names(images)
    assert set(images.splits["train"].names[BATCH : 2 * BATCH]) <= set(others)


def test_too_little_room_for_the_last_split_is_reported_before_an_image_is_read(
    images, monkeypatch
):
    monkeypatch.setenv("TRANSFER_CACHE_GB", f"{(SPEC.bytes(images.counts()) - 1) / 1e9:.9f}")
    unread, opened = counted(images)
    with pytest.raises(CacheError, match="set TRANSFER_CACHE_GB higher"):
        run_all(unread)
    assert opened == [] and open_store().entries() == []


def test_views_are_computed_in_parts_where_memory_is_short(images, complete, monkeypatch):
    forward, sizes = Segment.forward, []

    def limited(segment, stored):
        if len(stored) > 2:
            raise MemoryError
        sizes.append(len(stored))
        return forward(segment, stored)

    monkeypatch.setattr(Segment, "forward", limited)
    _, (cached, _) = run_all(images)
    assert max(sizes) == 2
    for block, splits in complete[1][0].items():
        for name, whole in splits.items():
            rows = whole.rows
            found = cached[block][name].inputs[0, rows].float()
            assert torch.allclose(found, whole.inputs[0, rows].float(), rtol=0.02, atol=0.02)
