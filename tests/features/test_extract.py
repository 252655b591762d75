import functools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import transfer
from tests.tiny import SIDE, drained, draw_classes, tiny_network
from tests.waiting import Threads
from transfer.cache import store as store_module
from transfer.cache.store import CacheEntry, Store, open_store
from transfer.data.dataset import ImageDataset
from transfer.data.source import load_splits
from transfer.data.transform import Transform
from transfer.errors import CacheError, SourceError
from transfer.features import extract as filling
from transfer.features.cached_dataset import CachedDataset, CacheLayer, CacheSpec, name_of
from transfer.features.extract import cache_levels, in_parts, passes_left, seconds_a_pass
from transfer.model.vgg import Segment
from transfer.settings import TrainingSettings
from transfer.training.accelerator import make_accelerator

TOP = Path(transfer.__file__).parents[1]
TRANSFORM, NETWORK = Transform(image_size=SIDE), tiny_network()
PIXELS = CacheLayer(block="block1", row_shape=(3, SIDE, SIDE))
BLOCK5 = CacheLayer(
    block="block5", row_shape=(512, 2, 2), stage=Segment(NETWORK.prefix("block5"), TRANSFORM)
)
TOP_LEVEL = CacheLayer(
    block="none", row_shape=(512, 1, 1), stage=Segment(NETWORK.tail("block5"), TRANSFORM)
)
LEVELS = (PIXELS, BLOCK5, TOP_LEVEL)
SPEC = CacheSpec(
    transform=TRANSFORM, views=3, seed=0, body="ab" * 32, dtype=torch.bfloat16, levels=LEVELS
)
PIXELS_ALONE = replace(SPEC, levels=(PIXELS,))
BATCH = 3
DAMAGED = "across/1.png"
WAITING, READING = "waiting for another training", "preparing images"
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."

KILLED = """
import os
import signal
import sys
from tests.features.test_extract import fill, opened
from transfer.cache import store

store.SECONDS_BETWEEN_FLUSHES = 0
flush, flushed = store.CacheEntry.flush, []


def flush_or_die(entry):
    flushed.append(entry)
    if len(flushed) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(entry)


store.CacheEntry.flush = flush_or_die
fill(opened(sys.argv[1]))
"""


class Refusing(Segment):
    def forward(self, stored):
        raise AssertionError("this level was there already")


class Scarce(Segment):
    """Memory for two at a time."""

    def forward(self, stored):
        if len(stored) > 2:
            raise RuntimeError(OUT_OF_MEMORY)
        return super().forward(stored)


@functools.cache
def accelerator():
    return make_accelerator(0)


def opened(folder) -> ImageDataset:
    return load_splits(str(folder), TrainingSettings())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Whoever looks at a lock twice fails, lest a test hang."""
    monkeypatch.setattr(filling, "SECONDS_BETWEEN_LOOKS", None)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageDataset:
    """Eighteen pictures, one of which cannot be read."""
    folder = draw_classes(tmp_path_factory.mktemp("images") / "stripes", each=6)
    (folder / DAMAGED).write_bytes(b"<html>gone</html>")
    images = opened(folder)
    assert DAMAGED in images.splits["train"].names[:BATCH]
    return images


def store_in(folder: Path) -> Store:
    (folder / "locks").mkdir(parents=True)
    return Store(folder)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> tuple[list, tuple]:
    """(events, (cached, problems)) of a filling that nothing disturbed; not to be changed."""
    return fill(images, store=store_in(tmp_path_factory.mktemp("whole") / "features"))


def started(images, spec=SPEC, store=None, rows=BATCH):
    return cache_levels(images, spec, store or open_store(), accelerator(), rows)


def fill(images, spec=SPEC, store=None, rows=BATCH) -> tuple[list, tuple]:
    return drained(started(images, spec, store, rows))


def watched(images: ImageDataset) -> tuple[ImageDataset, list[str]]:
    """(the same images, the names of those that were read so far but for the damaged one, which
    every filling tries again)."""
    read_names: list[str] = []

    def watch(split):
        def read(row):
            if split.names[row] != DAMAGED:
                read_names.append(split.names[row])
            return split.read(row)

        return replace(split, read=read)

    return images.with_splits({name: watch(s) for name, s in images.splits.items()}), read_names


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


def check_same(filled, wanted, blocks=("block1", "block5", "none")) -> None:
    (cached, problems), (wanted_cached, wanted_problems) = filled, wanted
    assert problems == wanted_problems and tuple(cached) == tuple(blocks)
    for block in blocks:
        for name, split in wanted_cached[block].items():
            assert torch.equal(values(cached[block][name]), values(split)), (block, name)
            assert torch.equal(cached[block][name].rows, split.rows)
            assert torch.equal(cached[block][name].labels, split.labels)
            assert cached[block][name].names == split.names


def entry_of(images: ImageDataset, name: str, level: CacheLayer) -> CacheEntry:
    shape = SPEC.shape_of(name, level, len(images.splits[name]))
    key, dtype = SPEC.key(images, name, level), name_of(SPEC.dtype_of(name, level))
    return open_store().entry(key, shape, dtype)


def refusal(images, **change) -> str:
    with pytest.raises(CacheError) as caught:
        fill(images, **change)
    assert "\n" not in str(caught.value) and "/tmp" not in str(caught.value)
    return str(caught.value)


def test_view_0_is_the_plain_picture_and_the_others_differ(images, whole):
    split, train = images.splits["train"], whole[1][0]["block1"]["train"]
    assert train.inputs.shape == (3, len(split), 3, SIDE, SIDE)
    assert train.inputs.dtype == torch.uint8
    for row in train.rows.tolist():
        plain, second, third = (train.inputs[view, [row]][0] for view in range(3))
        assert np.array_equal(plain.numpy(), TRANSFORM.pixels(split.read(row)))
        assert not torch.equal(second, plain)
        assert not torch.equal(third, plain) and not torch.equal(third, second)


def test_only_training_images_have_more_than_the_plain_view(images, whole):
    for splits in whole[1][0].values():
        views = {name: (cached.views, cached.random_views) for name, cached in splits.items()}
        plain = (1, False)
        assert views == {"train": (3, True), "validation": plain, "test": plain}


def test_views_are_drawn_by_the_seed_whatever_the_batch(images, whole, tmp_path):
    wanted = values(whole[1][0]["block1"]["train"])
    found = []
    for seed in (0, 1):
        store = store_in(tmp_path / str(seed))
        _, (cached, _) = fill(images, replace(PIXELS_ALONE, seed=seed), store, rows=5)
        found.append(values(cached["block1"]["train"]))
    again, other = found
    assert torch.equal(again, wanted)
    assert torch.equal(other[0], wanted[0]) and not torch.equal(other[1], wanted[1])


def test_an_image_that_cannot_be_read_is_named_and_takes_no_part(images, whole):
    cached, problems = whole[1]
    assert [problem.where for problem in problems] == [DAMAGED]
    assert "web page" in problems[0].why
    for block in ("block1", "block5", "none"):
        for name, split in images.splits.items():
            wanted = [row for row, at in enumerate(split.names) if at != DAMAGED]
            assert cached[block][name].rows.tolist() == wanted
            assert cached[block][name].names == tuple(split.names[row] for row in wanted)
            assert cached[block][name].labels.tolist() == split.labels[wanted].tolist()
    assert len(cached["none"]["train"]) == len(images.splits["train"]) - 1


def mended(images: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """(with one more image that cannot be read, as they are): nothing but reading tells them
    apart."""
    split = images.splits["train"]
    broken = replace(split, read=lambda row: b"" if row == 4 else split.read(row))
    return images.with_splits(images.splits | {"train": broken}), images


@pytest.mark.parametrize("below", [1, 2, 3])
def test_an_image_that_can_be_read_by_now_takes_part(images, whole, below):
    before, after = mended(images)
    _, (_, problems) = fill(before, replace(SPEC, levels=LEVELS[:below]))
    assert len(problems) == 2
    again, read_names = watched(after)
    check_same(fill(again)[1], whole[1])
    names = after.splits["train"].names
    assert {*read_names, DAMAGED} == ({names[4], DAMAGED} if below == 3 else {*names})
    assert sum(passes_left(images, SPEC, open_store()).values()) == 0
    check_same(fill(after)[1], whole[1])


def test_an_image_that_can_be_read_by_now_takes_part_in_a_filling_that_is_gone_on_with(
    images, whole
):
    before, after = mended(images)
    generator = started(before)
    for _ in range(2):
        next(generator)
    generator.close()
    check_same(fill(after)[1], whole[1])


def test_a_level_computed_from_one_that_could_be_read_since_is_made_good(images, whole):
    before, after = mended(images)
    fill(before)
    assert entry_of(images, "train", PIXELS).remove()
    fill(after, PIXELS_ALONE)
    check_same(fill(after)[1], whole[1])


def test_a_split_that_cannot_be_read_at_all_is_refused(images):
    unreadable = replace(images.splits["test"], read=lambda row: b"")
    with pytest.raises(SourceError, match="found none; run inspect"):
        fill(images.with_splits(images.splits | {"test": unreadable}), PIXELS_ALONE)


def test_progress_rises_to_the_total(images, whole):
    events = whole[0]
    sizes = [
        min(BATCH, rows - start) * SPEC.views_of(name)
        for name, rows in images.counts().items()
        for start in range(0, rows, BATCH)
    ]
    assert [event.done for event in events] == np.cumsum(sizes).tolist()
    assert {event.total for event in events} == {sum(passes(images).values())}
    assert events[-1].done == events[-1].total
    assert all(event.stage.startswith(READING) for event in events)
    seconds = [event.seconds for event in events]
    assert seconds == sorted(seconds) and 0 < seconds[0] < seconds[-1]


@torch.no_grad()
@pytest.mark.parametrize("block", ["block5", "none"])
def test_cached_features_are_what_a_direct_forward_gives(whole, block):
    device = accelerator().device
    layers = Segment(tiny_network().prefix(block), TRANSFORM).to(device)
    cached, _ = whole[1]
    for name, found in cached[block].items():
        assert found.inputs.dtype == (torch.float32 if name == "test" else torch.bfloat16)
        for view in range(found.views):
            pixels = cached["block1"][name].inputs[view, found.rows]
            wanted = layers(pixels.to(device)).cpu()
            off = (found.inputs[view, found.rows].float() - wanted).norm() / wanted.norm()
            assert off < (1e-5 if name == "test" and device.type == "cpu" else 0.02), name


def test_only_what_is_kept_is_handed_over_and_takes_room(images, whole):
    spec = replace(SPEC, levels=(replace(PIXELS, kept=False), BLOCK5, TOP_LEVEL))
    _, filled = fill(images, spec)
    check_same(filled, whole[1], ("block5", "none"))
    assert open_store().bytes == spec.bytes(images.counts())


def test_what_is_on_disk_is_not_computed_again(images, whole):
    store = open_store()
    assert passes_left(images, SPEC, store) == passes(images)
    fill(images)
    assert passes_left(images, SPEC, store) == {"train": 0, "validation": 0, "test": 0}
    again, read_names = watched(images)
    refusing = [level.stage and Refusing(level.stage.layers, TRANSFORM) for level in LEVELS]
    levels = (replace(level, stage=stage) for level, stage in zip(LEVELS, refusing, strict=True))
    events, filled = fill(again, replace(SPEC, levels=tuple(levels)))
    assert (events, read_names) == ([], [])
    check_same(filled, whole[1])


def test_what_is_used_again_counts_as_used_now(images):
    fill(images, PIXELS_ALONE)
    entries = open_store().entries()
    for entry in entries:
        for file in entry.path.iterdir():
            os.utime(file, (1000, 1000))
    fill(images, PIXELS_ALONE)
    assert len(entries) == 3 and all(time.time() - entry.used < 60 for entry in entries)


def test_a_filling_that_was_closed_is_gone_on_from(images, whole):
    threads, generator = Threads(), started(images)
    assert [next(generator).done for _ in range(2)] == [9, 18]
    generator.close()
    assert not threads.alive
    left = passes(images)
    left["train"] -= 2 * BATCH * SPEC.views
    assert passes_left(images, SPEC, open_store()) == left
    again, read_names = watched(images)
    events, filled = fill(again)
    assert sorted(read_names) == all_names(images, first=2 * BATCH)
    assert events[-1].done == events[-1].total == sum(left.values())
    assert all(event.stage.startswith(READING) for event in events)
    check_same(filled, whole[1])


def test_a_filling_that_was_killed_is_gone_on_from_bit_by_bit(images, whole, cache):
    folder = Path(images.source)
    environment = os.environ | {"TRANSFER_CACHE": str(cache), "PYTHONPATH": str(TOP)}
    killed = subprocess.run([sys.executable, "-c", KILLED, folder], env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    standing = [entry_of(images, "train", level).done()[0].sum() for level in LEVELS]
    assert standing == [2 * BATCH, 2 * BATCH, BATCH]
    again, read_names = watched(images)
    events, filled = fill(again)
    assert sorted(read_names) == all_names(images, first=BATCH)
    assert all(event.stage.startswith(READING) for event in events)
    check_same(filled, whole[1])


@pytest.mark.parametrize("below", [1, 2])
def test_a_higher_level_is_computed_from_the_one_below_without_the_images(images, whole, below):
    fill(images, replace(SPEC, levels=LEVELS[:below]))
    assert passes_left(images, SPEC, open_store()) == passes(images)
    again, read_names = watched(images)
    refusing = replace(BLOCK5, stage=Refusing(BLOCK5.stage.layers, TRANSFORM))
    levels = (PIXELS, BLOCK5 if below == 1 else refusing, TOP_LEVEL)
    events, filled = fill(again, replace(SPEC, levels=levels))
    assert read_names == []
    bad_rows = [entry_of(images, "train", level).bad_rows() for level in LEVELS]
    assert bad_rows[0] and bad_rows == 3 * [bad_rows[0]]
    assert events[-1].done == events[-1].total == sum(passes(images).values())
    check_same(filled, whole[1])


def test_a_lower_level_that_was_removed_is_computed_anew(images, whole):
    fill(images)
    assert entry_of(images, "train", PIXELS).remove()
    kept = entry_of(images, "train", TOP_LEVEL)
    before = (kept.path / "data.bin").stat().st_mtime_ns
    left = {"train": passes(images)["train"], "validation": 0, "test": 0}
    assert passes_left(images, SPEC, open_store()) == left
    again, read_names = watched(images)
    _, filled = fill(again)
    assert sorted({*read_names, DAMAGED}) == sorted(images.splits["train"].names)
    assert (kept.path / "data.bin").stat().st_mtime_ns == before
    check_same(filled, whole[1])


@pytest.mark.parametrize("finishes", [True, False])
def test_a_training_waits_while_another_fills_the_same(images, whole, monkeypatch, finishes):
    monkeypatch.setattr(filling, "SECONDS_BETWEEN_LOOKS", 0.001)
    first = started(images, PIXELS_ALONE)
    next(first)
    again, read_names = watched(images)
    second = started(again, PIXELS_ALONE)
    for _ in range(3):
        event = next(second)
        assert event.stage.startswith(WAITING) and event.done == 0
    assert read_names == []
    if finishes:
        drained(first)
    else:
        first.close()
    _, filled = drained(second)
    assert sorted(read_names) == ([] if finishes else all_names(images, first=BATCH))
    check_same(filled, whole[1], ("block1",))


def test_the_processes_of_a_training_share_the_images(images, whole):
    barrier = threading.Barrier(2, timeout=30)
    store, shares = open_store(), [watched(images) for _ in range(2)]

    def one(index: int):
        process = SimpleNamespace(
            device=accelerator().device,
            process_index=index,
            num_processes=2,
            is_main_process=index == 0,
            wait_for_everyone=barrier.wait,
        )
        return drained(cache_levels(shares[index][0], SPEC, store, process, BATCH))

    with ThreadPoolExecutor(2) as pool:
        (events, filled), (_, the_same) = pool.map(one, range(2))
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == events[-1].total
    check_same(filled, whole[1])
    check_same(the_same, whole[1])
    (_, some), (_, others) = shares
    assert sorted(some + others) == all_names(images)
    assert {*images.splits["train"].names[:BATCH]} <= {*some, DAMAGED}
    assert set(images.splits["train"].names[BATCH : 2 * BATCH]) <= set(others)


def test_too_little_room_is_told_before_an_image_is_read(images, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "0.0001")
    unread, read_names = watched(images)
    assert "TRANSFER_CACHE_GB" in refusal(unread)
    assert read_names == [] and open_store().entries() == []


def test_a_disk_that_fills_up_is_told_and_what_stands_is_gone_on_from(images, whole, monkeypatch):
    monkeypatch.setattr(store_module, "SECONDS_BETWEEN_FLUSHES", 0)
    generator, usual = started(images, PIXELS_ALONE), store_module.Path.open

    def full(path, mode="r", *args, **options):
        if mode == "r+b":
            raise OSError(28, "No space left on device")
        return usual(path, mode, *args, **options)

    next(generator)
    with monkeypatch.context() as patched, pytest.raises(CacheError) as caught:
        patched.setattr(store_module.Path, "open", full)
        next(generator)
    assert "No space left on device" in str(caught.value) and "\n" not in str(caught.value)
    again, read_names = watched(images)
    _, filled = fill(again, PIXELS_ALONE)
    assert sorted(read_names) == all_names(images, first=BATCH)
    check_same(filled, whole[1], ("block1",))


def test_a_cache_that_was_changed_while_it_was_filled_is_told(images, whole):
    generator = started(images, PIXELS_ALONE)
    next(generator)
    (entry_of(images, "train", PIXELS).path / "done.jsonl").unlink()
    with pytest.raises(CacheError, match="changed while it was filled; train again"):
        drained(generator)
    left = passes(images) | {"train": BATCH * SPEC.views}
    assert passes_left(images, PIXELS_ALONE, open_store()) == left
    check_same(fill(images, PIXELS_ALONE)[1], whole[1], ("block1",))


def test_locks_are_let_go_of_when_a_filling_fails(images):
    broken = replace(BLOCK5, stage=Refusing(BLOCK5.stage.layers, TRANSFORM))
    with pytest.raises(AssertionError) as caught:
        fill(images, replace(SPEC, levels=(PIXELS, broken)))
    for level in (PIXELS, BLOCK5):
        with entry_of(images, "train", level).lock.acquire(timeout=0):
            assert "there already" in str(caught.value)


def test_a_level_that_lacks_memory_is_computed_in_parts(images, whole):
    scarce = replace(BLOCK5, stage=Scarce(BLOCK5.stage.layers, TRANSFORM))
    _, (cached, _) = fill(images, replace(SPEC, levels=(PIXELS, scarce)))
    for name, wanted in whole[1][0]["block5"].items():
        found, wanted = values(cached["block5"][name]).float(), values(wanted).float()
        assert (found - wanted).norm() < 0.02 * wanted.norm()


class Counting(torch.nn.Module):
    """Doubles at most `room` numbers at a time, else fails with `message`."""

    def __init__(self, room: int, message: str = OUT_OF_MEMORY):
        super().__init__()
        self.room, self.message, self.sizes = room, message, []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        if len(inputs) > self.room:
            raise RuntimeError(self.message)
        return 2 * inputs


@pytest.mark.parametrize(("room", "sizes"), [(7, [7]), (4, [7, 4, 3]), (2, [7, 4, 2, 2, 3, 2, 1])])
def test_memory_that_does_not_suffice_is_answered_by_halving(room, sizes):
    stage, inputs = Counting(room), torch.arange(7.0)
    assert torch.equal(in_parts(stage, inputs), 2 * inputs)
    assert stage.sizes == sizes


@pytest.mark.parametrize(
    ("room", "message", "sizes"), [(0, OUT_OF_MEMORY, [4, 2, 1]), (2, "shapes differ", [4])]
)
def test_what_halving_does_not_help_is_raised(room, message, sizes):
    stage = Counting(room, message)
    with pytest.raises(RuntimeError, match=message[:10]):
        in_parts(stage, torch.arange(4.0))
    assert stage.sizes == sizes


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(filling, "processors", lambda: 2)


def test_a_pass_is_measured_on_a_few_images_the_second_time(images, two_processors, monkeypatch):
    clock, warm = SimpleNamespace(now=0.0), set()
    monkeypatch.setattr(filling, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    class Slow(Segment):
        def forward(self, stored):
            clock.now += 2 if id(self) in warm else 100
            warm.add(id(self))
            return super().forward(stored)

    slow, read_names = watched(images)
    for split in slow.splits.values():
        object.__setattr__(split, "read", taking(split.read, clock, seconds=6))
    stages = [level.stage and Slow(level.stage.layers, TRANSFORM) for level in LEVELS]
    levels = (replace(level, stage=stage) for level, stage in zip(LEVELS, stages, strict=True))
    spec, store = replace(SPEC, levels=tuple(levels)), open_store()
    cpu = torch.device("cpu")
    assert seconds_a_pass(slow, spec, store, "train", cpu) == pytest.approx((12 / 2 + 4) / 6)
    assert {*read_names, DAMAGED} == {*images.splits["train"].names[:2]}
    rows = len(images.splits["validation"])
    wanted = (6 * rows / 2 + 4) / rows
    assert seconds_a_pass(slow, spec, store, "validation", cpu) == pytest.approx(wanted)
    assert store.entries() == []


def taking(read, clock, seconds):
    def slowly(row):
        clock.now += seconds
        return read(row)

    return slowly
