import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, held, tiny_network
from transfer.cache.store import ITEM_BYTES, CacheEntry, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.transform import Transform
from transfer.features import cached_dataset as features
from transfer.features.cached_dataset import (
    CacheLayer,
    CacheSpec,
    MemmapTensor,
    dtype_name,
)
from transfer.model.vgg import Segment

TRANSFORM = Transform(image_size=SIDE)
PIXELS = CacheLayer(block="block1", row_shape=(3, SIDE, SIDE))
BLOCK5 = CacheLayer(
    block="block5",
    row_shape=(512, 2, 2),
    segment=Segment(tiny_network().prefix("block5"), TRANSFORM),
)
SPEC = CacheSpec(
    transform=TRANSFORM,
    views=3,
    seed=0,
    body="ab" * 32,
    dtype=torch.bfloat16,
    layers=(PIXELS, BLOCK5),
)
SMAPS = Path("/proc/self/smaps")
DTYPES = [torch.uint8, torch.bfloat16, torch.float16, torch.float32]


def split(rows: int = 6) -> Split:
    names = tuple(f"{row}.png" for row in range(rows))
    return Split(labels=np.arange(rows) % 2, names=names, read=lambda i: names[i])


IMAGES = ImageDataset(
    source="photos",
    revision="1",
    classes=("cat", "dog"),
    splits={"train": split(), "validation": split(2), "test": split(3)},
)


def entry_of(values: torch.Tensor) -> CacheEntry:
    """A complete entry that holds these values (V, N, …)."""
    entry = open_store().entry({"values": "any"}, tuple(values.shape), dtype_name(values.dtype))
    entry.start()
    plain = values.view(torch.int16) if values.dtype == torch.bfloat16 else values
    entry.write(0, plain.numpy(), {})
    entry.save(values.shape[1])
    return entry


def some(dtype: torch.dtype, shape=(3, 40, 2, 5)) -> torch.Tensor:
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (255 * noise).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_entry_on_disk_reads_like_a_tensor_in_memory(dtype):
    values = some(dtype)
    mapped = MemmapTensor(entry_of(values))
    assert (mapped.shape, mapped.dtype, len(mapped)) == (values.shape, dtype, 3)
    rows = torch.tensor([7, 0, 39, 7])
    for views in (0, 2, torch.tensor([2, 0, 1, 1])):
        taken = mapped[views, rows]
        assert taken.dtype == dtype and torch.equal(taken, values[views, rows])
    taken.zero_()  # a copy
    assert torch.equal(mapped[1, [5, 6]], values[1, 5:7])
    assert ITEM_BYTES[dtype_name(dtype)] == dtype.itemsize


def resident(mapped: MemmapTensor) -> int:
    """Kilobytes of the mapping that stand in this process's memory."""
    lines = SMAPS.read_text().splitlines()
    start = f"{mapped._values.ctypes.data:x}-"
    at = next(i for i, line in enumerate(lines) if line.startswith(start))
    return int(next(line for line in lines[at:] if line.startswith("Rss:")).split()[1])


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux says what is resident")
@pytest.mark.parametrize("held_back", [False, True])
def test_pages_are_given_back_and_values_stay_right(monkeypatch, held_back):
    values = some(torch.float32, (1, 64, 16, 1024))
    mapped = MemmapTensor(entry_of(values))
    monkeypatch.setattr(features, "BYTES_BEFORE_RELEASE", 1e12 if held_back else 200_000)
    largest = 0
    for _ in range(2):
        for row in range(0, 64, 2):
            assert torch.equal(mapped[0, [row, row + 1]], values[0, row : row + 2])
            if row % 16 == 14:
                largest = max(largest, resident(mapped))
    assert (largest > 4000) == held_back


def test_a_batch_draws_its_views_only_where_they_are_random():
    views = torch.arange(4.0).reshape(4, 1, 1).expand(4, 50, 1)
    drawn, labels = held(views, range(50), random_views=True).__getitems__(list(range(50)))
    assert set(drawn.flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert labels.tolist() == list(range(50))
    plain, labels = held(views, range(50)).__getitems__([7, 3])
    assert plain.flatten().tolist() == [0.0, 0.0]
    assert labels.tolist() == [7, 3]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_batch_is_taken_by_readable_row(on_disk):
    inputs = torch.arange(5.0).reshape(1, 5, 1)
    rows = torch.tensor([0, 3])
    cached = held(MemmapTensor(entry_of(inputs)) if on_disk else inputs, [10, 13], rows=rows)
    taken, labels = cached.__getitems__([1, 0])
    assert taken.flatten().tolist() == [3.0, 0.0]
    assert labels.tolist() == [13, 10]
    assert (cached.views, len(cached)) == (1, 2)


def test_only_training_images_have_several_views_and_test_images_full_precision():
    shapes = [SPEC.shape_of(name, BLOCK5, 7) for name in ("train", "validation", "test")]
    assert shapes == [(3, 7, 512, 2, 2), (1, 7, 512, 2, 2), (1, 7, 512, 2, 2)]
    dtypes = [SPEC.dtype_of(name, BLOCK5) for name in ("train", "validation", "test")]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert {SPEC.dtype_of(name, PIXELS) for name in IMAGES.splits} == {torch.uint8}
    pixels, features = 3 * SIDE * SIDE, 512 * 2 * 2
    both = (3 * 6 + 2 + 3) * pixels + ((3 * 6 + 2) * 2 + 3 * 4) * features
    assert SPEC.bytes(IMAGES.counts()) == both
    uncached = replace(SPEC, layers=(replace(PIXELS, cached=False), BLOCK5))
    assert uncached.bytes(IMAGES.counts()) == both - (3 * 6 + 2 + 3) * pixels


def key(
    spec: CacheSpec = SPEC, images: ImageDataset = IMAGES, split: str = "train", layer=BLOCK5
) -> dict:
    return spec.key(images, split, layer)


def names(change: Callable) -> ImageDataset:
    splits = IMAGES.splits
    changed = replace(splits["train"], names=change(splits["train"].names))
    return IMAGES.with_splits(splits | {"train": changed})


OTHERS = {
    "source": key(images=replace(IMAGES, source="paintings")),
    "revision": key(images=replace(IMAGES, revision="2")),
    "image column": key(images=replace(IMAGES, image_column="picture")),
    "split": key(images=IMAGES.with_splits({"dev": IMAGES.splits["train"]}), split="dev"),
    "selection": key(images=names(lambda known: (*known[:-1], "new.png"))),
    "one less": key(images=names(lambda known: known[:-1])),
    "not unicode": key(images=names(lambda known: ("caf\udce9.png", *known[1:]))),
    "order": key(images=names(lambda known: known[::-1])),
    "names joined": key(images=names(lambda known: (known[0] + known[1], *known[2:]))),
    "image size": key(replace(SPEC, transform=replace(TRANSFORM, image_size=64))),
    "views": key(replace(SPEC, views=2)),
    "seed": key(replace(SPEC, seed=1)),
    "body": key(replace(SPEC, body="cd" * 32)),
    "cut": key(layer=replace(BLOCK5, block="none")),
    "dtype": key(replace(SPEC, dtype=torch.float32)),
    "pixels": key(layer=PIXELS),
}


def path(key: dict):
    return open_store().entry(key, (1, 1), "uint8").path


def test_whatever_changes_a_value_changes_the_key():
    paths = {name: path(other) for name, other in OTHERS.items()} | {"unchanged": path(key())}
    assert len(set(paths.values())) == len(paths), paths


@pytest.mark.parametrize("library", ["PIL", "formats", "image.py"])
def test_other_code_makes_another_key(monkeypatch, library):
    before = key()
    features._code.cache_clear()
    if library == "PIL":
        monkeypatch.setattr(features.PIL, "__version__", "0.0")
    elif library == "formats":
        one_more = (*features.formats(), "NEW")
        monkeypatch.setattr(features, "formats", lambda: one_more)
    else:
        read = features.Path.read_bytes
        monkeypatch.setattr(
            features.Path,
            "read_bytes",
            lambda path: read(path) + (b"#" if path.name == library else b""),
        )
    changed = key()
    features._code.cache_clear()
    assert changed != before and changed | {"code": before["code"]} == before
    monkeypatch.undo()
    assert key() == before


def test_labels_and_other_splits_do_not_change_the_key():
    train = IMAGES.splits["train"]
    other = replace(train, labels=1 - train.labels)
    renamed = replace(IMAGES, classes=("dog", "cat"), label_column="kind")
    splits = {"train": other, "test": split(9)}
    assert key(images=renamed.with_splits(IMAGES.splits | splits)) == key()


def test_the_seed_is_in_the_key_only_where_views_are_random():
    seeded = replace(SPEC, seed=1)
    assert key(seeded, split="test") == key(split="test")
    assert key(replace(seeded, views=1)) == key(replace(SPEC, views=1))
    assert key(seeded) != key()


def test_neither_pixels_nor_test_images_depend_on_the_precision_of_training():
    other = replace(SPEC, body="cd" * 32, dtype=torch.float32)
    assert key(other, layer=PIXELS) == key(layer=PIXELS)
    assert not {"body", "cut", "dtype"} & key(layer=PIXELS).keys()
    assert key(replace(SPEC, dtype=torch.float32), split="test") == key(split="test")


def test_every_field_of_spec_and_transform_is_in_the_key():
    held_by = {field.name for field in dataclasses.fields(CacheSpec)} - {"layers"}
    assert held_by <= key().keys()
    assert key()["transform"].keys() == {f.name for f in dataclasses.fields(Transform)}
