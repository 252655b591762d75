import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.features.layers import BLOCK5, PIXELS, SPEC, TRANSFORM
from tests.tiny import held
from transfer.cache.store import ITEM_BYTES, CacheEntry, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.transform import Transform
from transfer.features import cached_dataset as features
from transfer.features.cached_dataset import CacheSpec, MemmapTensor, dtype_name

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
        found = mapped[views, rows]
        assert found.dtype == dtype and torch.equal(found, values[views, rows])
    assert ITEM_BYTES[dtype_name(dtype)] == dtype.itemsize


def test_a_batch_draws_its_views_only_where_they_are_random():
    views = torch.arange(4.0).reshape(4, 1, 1).expand(4, 50, 1)
    drawn, labels = held(views, range(50), random_views=True).__getitems__(list(range(50)))
    assert set(drawn.flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert labels.tolist() == list(range(50))
    plain, labels = held(views, range(50)).__getitems__([7, 3])
    assert plain.flatten().tolist() == [0.0, 0.0]
    assert labels.tolist() == [7, 3]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_batch_is_read_by_readable_row(on_disk):
    inputs = torch.arange(5.0).reshape(1, 5, 1)
    inputs = MemmapTensor(entry_of(inputs)) if on_disk else inputs
    cached = held(inputs, [10, 13], rows=torch.tensor([0, 3]))
    found, labels = cached.__getitems__([1, 0])
    assert found.flatten().tolist() == [3.0, 0.0] and labels.tolist() == [13, 10]
    assert (cached.views, len(cached)) == (1, 2)


def key(
    spec: CacheSpec = SPEC, images: ImageDataset = IMAGES, split: str = "train", layer=BLOCK5
) -> dict:
    return spec.key(images, split, layer)


def named(*names: str) -> ImageDataset:
    return IMAGES.with_splits({"train": replace(IMAGES.splits["train"], names=names)})


NAMES = IMAGES.splits["train"].names
OTHERS = {
    "source": key(images=replace(IMAGES, source="paintings")),
    "revision": key(images=replace(IMAGES, revision="2")),
    "image column": key(images=replace(IMAGES, image_column="picture")),
    "split": key(images=IMAGES.with_splits({"dev": IMAGES.splits["train"]}), split="dev"),
    "selection": key(images=named(*NAMES[:-1], "new.png")),
    "not unicode": key(images=named("caf\udce9.png", *NAMES[1:])),
    "order": key(images=named(*NAMES[::-1])),
    "names joined": key(images=named(NAMES[0] + NAMES[1], *NAMES[2:])),
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


@pytest.mark.parametrize("changed", ["PIL", "formats", "image.py"])
def test_other_code_makes_another_key(monkeypatch, changed):
    before, read = key(), Path.read_bytes
    features._code.cache_clear()
    with monkeypatch.context() as patch:
        if changed == "PIL":
            patch.setattr(features.PIL, "__version__", "0.0")
        elif changed == "formats":
            patch.setattr(features, "formats", lambda: ("NEW",))
        else:
            patch.setattr(
                Path, "read_bytes", lambda path: read(path) + (path.name == changed) * b"#"
            )
        other = key()
    features._code.cache_clear()
    assert other != before and other | {"code": before["code"]} == before == key()


def test_what_changes_no_value_is_not_in_the_key():
    train = IMAGES.splits["train"]
    splits = {"train": replace(train, labels=1 - train.labels), "test": split(9)}
    renamed = replace(IMAGES, classes=("dog", "cat"), label_column="kind")
    assert key(images=renamed.with_splits(IMAGES.splits | splits)) == key()
    seeded, precise = replace(SPEC, seed=1), replace(SPEC, dtype=torch.float32)
    assert key(seeded, split="test") == key(split="test")  # no random views
    assert key(replace(seeded, views=1)) == key(replace(SPEC, views=1))
    assert key(precise, split="test") == key(split="test")  # float32 in any case
    assert key(replace(precise, body="cd" * 32), layer=PIXELS) == key(layer=PIXELS)


def test_every_field_of_spec_and_transform_is_in_the_key():
    held_by = {field.name for field in dataclasses.fields(CacheSpec)} - {"layers"}
    assert held_by <= key().keys()
    assert key()["transform"].keys() == {f.name for f in dataclasses.fields(Transform)}


def test_cached_pixels_are_augmented_anew_in_every_epoch():
    pixels = torch.randint(256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    cached = held(pixels, [0, 1, 0], random_views=True)
    torch.manual_seed(0)
    batches = [cached.__getitems__([0, 1, 2])[0] for _ in range(2)]
    assert batches[0].shape == (3, 3, 32, 32) and batches[0].dtype == torch.uint8
    assert not torch.equal(*batches)
    torch.manual_seed(0)
    assert torch.equal(cached.__getitems__([0, 1, 2])[0], batches[0])
    assert torch.equal(held(pixels, [0, 1, 0]).__getitems__([1])[0], pixels[0, 1:2])
