import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, held, tiny_network
from transfer.cache.store import CacheEntry, open_store
from transfer.data.dataset import ImageDataset, Split
from transfer.data.transform import Transform
from transfer.features import cached_dataset as features
from transfer.features.cached_dataset import (
    NUMPY,
    CachedDataset,
    CacheLayer,
    CacheSpec,
    MemmapTensor,
    name_of,
)
from transfer.model.vgg import Segment

TRANSFORM = Transform(image_size=SIDE)
PIXELS = CacheLayer(block="block1", row_shape=(3, SIDE, SIDE))
BLOCK5 = CacheLayer(
    block="block5",
    row_shape=(512, 2, 2),
    stage=Segment(tiny_network().prefix("block5"), TRANSFORM),
)
SPEC = CacheSpec(
    transform=TRANSFORM,
    views=3,
    seed=0,
    body="ab" * 32,
    dtype=torch.bfloat16,
    levels=(PIXELS, BLOCK5),
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
    """A whole entry that holds these values (V, N, …)."""
    entry = open_store().entry({"values": "any"}, tuple(values.shape), name_of(values.dtype))
    entry.start()
    plain = values.view(torch.int16) if values.dtype == torch.bfloat16 else values
    entry.write(list(range(values.shape[1])), plain.numpy(), {})
    entry.flush()
    entry.finish()
    return entry


def some(dtype: torch.dtype, shape=(3, 40, 2, 5)) -> torch.Tensor:
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (255 * noise).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_mapped_is_what_a_tensor_in_memory_gives(dtype):
    values = some(dtype)
    mapped = MemmapTensor(entry_of(values))
    assert (mapped.shape, mapped.dtype, len(mapped)) == (values.shape, dtype, 3)
    rows = torch.tensor([7, 0, 39, 7])
    for views in (0, 2, torch.tensor([2, 0, 1, 1])):
        taken = mapped[views, rows]
        assert taken.dtype == dtype and torch.equal(taken, values[views, rows])
    assert torch.equal(mapped[1, [5, 6]], values[1, 5:7])


def test_what_was_taken_is_a_copy():
    values = some(torch.float32)
    mapped = MemmapTensor(entry_of(values))
    taken = mapped[0, [1, 2]]
    taken.zero_()
    assert torch.equal(mapped[0, [1, 2]], values[0, 1:3])


def test_every_dtype_has_its_place_in_numpy():
    for name, kind in NUMPY.items():
        assert np.dtype(kind).itemsize == getattr(torch, name).itemsize


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
    monkeypatch.setattr(features, "BYTES_BEFORE_FORGETTING", 1e12 if held_back else 200_000)
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
    one, label = cached[1]
    assert (one.tolist(), label.item(), len(cached)) == ([3.0], 13, 2)


def test_a_split_on_disk_draws_a_view_an_image():
    values = some(torch.bfloat16)
    rows = torch.arange(40)
    cached = held(MemmapTensor(entry_of(values)), rows, random_views=True)
    drawn, _ = cached.__getitems__(rows.tolist())
    which = [(values[:, row] == drawn[row]).all(dim=(1, 2)) for row in range(40)]
    assert all(found.any() for found in which)
    assert torch.stack(which).any(dim=0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_split_knows_its_views_and_megabytes(dtype):
    values = some(dtype, (2, 5, 100, 10))
    for inputs in (values, MemmapTensor(entry_of(values))):
        cached = held(inputs, range(5))
        assert cached.views == 2
        assert cached.megabytes == 10_000 * dtype.itemsize / 1e6


def test_a_loader_takes_whole_batches():
    cached = held(torch.arange(6.0).reshape(1, 6, 1), range(6))
    assert isinstance(cached, CachedDataset)
    loader = torch.utils.data.DataLoader(cached, batch_size=4, collate_fn=lambda batch: batch)
    assert [labels.tolist() for _, labels in loader] == [[0, 1, 2, 3], [4, 5]]


def test_training_images_alone_have_more_than_the_plain_view():
    shapes = {name: SPEC.shape_of(name, BLOCK5, 7) for name in IMAGES.splits}
    rest = (1, 7, 512, 2, 2)
    assert shapes == {"train": (3, 7, 512, 2, 2), "validation": rest, "test": rest}


def test_test_images_are_kept_in_full_precision_and_pixels_in_bytes():
    dtypes = [SPEC.dtype_of(name, BLOCK5) for name in ("train", "validation", "test")]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert {SPEC.dtype_of(name, PIXELS) for name in IMAGES.splits} == {torch.uint8}


@pytest.mark.parametrize("pixels_kept", [True, False])
def test_the_bytes_foretold_are_the_bytes_on_disk(pixels_kept):
    spec, store = replace(SPEC, levels=(replace(PIXELS, kept=pixels_kept), BLOCK5)), open_store()
    for name, rows in IMAGES.counts().items():
        for level in spec.levels:
            if level.kept:
                shape = spec.shape_of(name, level, rows)
                dtype = name_of(spec.dtype_of(name, level))
                store.entry(spec.key(IMAGES, name, level), shape, dtype).start()
    assert spec.bytes(IMAGES.counts()) == store.bytes
    on_disk = sum(file.stat().st_size for file in store.folder.rglob("data.bin"))
    assert spec.bytes(IMAGES.counts()) == on_disk


def key(
    spec: CacheSpec = SPEC, images: ImageDataset = IMAGES, split: str = "train", level=BLOCK5
) -> dict:
    return spec.key(images, split, level)


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
    "order": key(images=names(lambda known: known[::-1])),
    "names joined": key(images=names(lambda known: (known[0] + known[1], *known[2:]))),
    "image size": key(replace(SPEC, transform=replace(TRANSFORM, image_size=64))),
    "mean": key(replace(SPEC, transform=replace(TRANSFORM, mean=(0.5, 0.5, 0.5)))),
    "std": key(replace(SPEC, transform=replace(TRANSFORM, std=(0.5, 0.5, 0.5)))),
    "interpolation": key(replace(SPEC, transform=replace(TRANSFORM, interpolation="bicubic"))),
    "views": key(replace(SPEC, views=2)),
    "seed": key(replace(SPEC, seed=1)),
    "body": key(replace(SPEC, body="cd" * 32)),
    "cut": key(level=replace(BLOCK5, block="none")),
    "dtype": key(replace(SPEC, dtype=torch.float32)),
    "pixels": key(level=PIXELS),
}


def path(key: dict):
    return open_store().entry(key, (1, 1), "uint8").path


@pytest.mark.parametrize("changed", OTHERS)
def test_whatever_decides_a_number_changes_the_key(changed):
    assert path(OTHERS[changed]) != path(key())


def test_no_two_keys_are_the_same():
    assert len({path(other) for other in OTHERS.values()}) == len(OTHERS)


@pytest.mark.parametrize("library", ["PIL", "formats", "image.py", "transform.py", "extract.py"])
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


def test_a_split_of_the_same_pictures_has_a_key_of_its_own():
    plain = replace(SPEC, views=1)
    images = IMAGES.with_splits(dict.fromkeys(("train", "validation"), split()))
    assert key(plain, images) | {"split": "validation"} == key(plain, images, "validation")
    assert path(key(plain, images)) != path(key(plain, images, "validation"))


def test_labels_do_not_change_the_key():
    train = IMAGES.splits["train"]
    other = replace(train, labels=1 - train.labels)
    renamed = replace(IMAGES, classes=("dog", "cat"), label_column="kind")
    assert key(images=renamed.with_splits(IMAGES.splits | {"train": other})) == key()


def test_other_splits_do_not_change_the_key():
    assert key(images=IMAGES.with_splits(IMAGES.splits | {"test": split(9)})) == key()


def test_the_seed_decides_nothing_where_there_is_only_the_plain_view():
    seeded = replace(SPEC, seed=1)
    assert key(seeded, split="test") == key(split="test")
    assert key(replace(seeded, views=1)) == key(replace(SPEC, views=1))
    assert key(seeded) != key()


def test_pixels_do_not_depend_on_the_body_nor_on_the_arithmetic():
    other = replace(SPEC, body="cd" * 32, dtype=torch.float32)
    assert key(other, level=PIXELS) == key(level=PIXELS)
    assert not {"body", "cut", "dtype"} & key(level=PIXELS).keys()


def test_test_images_do_not_depend_on_the_arithmetic_of_training():
    assert key(replace(SPEC, dtype=torch.float32), split="test") == key(split="test")


def test_a_name_that_is_not_unicode_has_a_key():
    odd = names(lambda known: ("caf\udce9.png", *known[1:]))
    wanted = hashlib.sha256(
        "\0".join(odd.splits["train"].names).encode("utf-8", "surrogateescape")
    ).hexdigest()
    assert key(images=odd)["selection"] == wanted
    assert path(key(images=odd)) != path(key())


def test_nothing_that_a_spec_or_transform_holds_is_missing_from_the_key():
    held_by = {field.name for field in dataclasses.fields(CacheSpec)} - {"levels"}
    assert held_by <= key().keys()
    assert key()["transform"].keys() == {f.name for f in dataclasses.fields(Transform)}
