import dataclasses
import shutil

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, drained, draw_classes, held, tiny_network
from transfer import features
from transfer.errors import SourceError
from transfer.features import cache_features, cache_pixels, check_disk, choose_cut, compute_dtype
from transfer.network import Stage
from transfer.settings import TrainingSettings
from transfer.source import open_source
from transfer.training import make_accelerator
from transfer.transform import Transform

TRANSFORM = Transform(image_size=SIDE)
DAMAGED = "down/3.png"


@pytest.fixture(scope="module")
def accelerator():
    return make_accelerator(0)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twenty-four pictures, one of which cannot be read."""
    folder = draw_classes(tmp_path_factory.mktemp("images") / "stripes")
    (folder / DAMAGED).write_bytes(b"<html>gone</html>")
    return open_source(str(folder), TrainingSettings())


@pytest.fixture
def pixels(images, accelerator, tmp_path):
    return read(images, accelerator, tmp_path)[1][0]


def read(images, accelerator, folder, views=3, seed=0):
    """(events, (split → Cached, problems))."""
    return drained(cache_pixels(images.splits, TRANSFORM, views, seed, folder, accelerator))


def owner(images) -> str:
    return next(name for name, split in images.splits.items() if DAMAGED in split.names)


def test_view_0_is_the_plain_picture_and_the_others_differ(images, pixels):
    split, train = images.splits["train"], pixels["train"]
    assert train.inputs.shape == (3, len(split), 3, SIDE, SIDE)
    assert train.inputs.dtype == torch.uint8
    for row in train.rows.tolist():
        views = train.inputs[:, row]
        assert np.array_equal(views[0].numpy(), TRANSFORM.pixels(split.read(row)))
        assert not torch.equal(views[1], views[0])
        assert not torch.equal(views[2], views[1])


def test_only_training_images_have_more_than_the_plain_view(pixels):
    assert {name: cached.views for name, cached in pixels.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }


def test_views_are_drawn_by_the_seed(images, pixels, accelerator, tmp_path):
    again = read(images, accelerator, tmp_path / "again")[1][0]["train"].inputs
    other = read(images, accelerator, tmp_path / "other", seed=1)[1][0]["train"].inputs
    assert torch.equal(again, pixels["train"].inputs)
    assert torch.equal(other[0], pixels["train"].inputs[0])
    assert not torch.equal(other[1], pixels["train"].inputs[1])


def test_an_image_that_cannot_be_read_is_named_and_takes_no_part(images, accelerator, tmp_path):
    _, (pixels, problems) = read(images, accelerator, tmp_path)
    assert [problem.where for problem in problems] == [DAMAGED]
    assert "web page" in problems[0].why
    for name, split in images.splits.items():
        cached = pixels[name]
        wanted = [row for row, at in enumerate(split.names) if at != DAMAGED]
        assert cached.rows.tolist() == wanted
        assert cached.names == tuple(split.names[row] for row in wanted)
        assert cached.labels.tolist() == split.labels[wanted].tolist()
    assert len(pixels[owner(images)]) == len(images.splits[owner(images)]) - 1


def test_a_split_that_cannot_be_read_at_all_is_refused(images, accelerator, tmp_path):
    unreadable = dataclasses.replace(images.splits["test"], read=lambda i: b"")
    broken = images.with_splits(images.splits | {"test": unreadable})
    with pytest.raises(SourceError, match="found none; run inspect"):
        read(broken, accelerator, tmp_path)


def test_progress_is_told_image_by_image_up_to_the_last(images, accelerator, tmp_path):
    events, _ = read(images, accelerator, tmp_path)
    assert [event.done for event in events] == list(range(1, 25))
    assert {event.total for event in events} == {24}


@torch.no_grad()
def test_cached_features_are_what_a_direct_forward_gives(pixels, accelerator, tmp_path):
    layers = Stage(tiny_network().prefix("block4"), TRANSFORM)
    events, found = drained(cache_features(pixels, layers, "border", tmp_path, accelerator))
    images = sum(cached.views * len(cached) for cached in pixels.values())
    assert events[-1].done == events[-1].total == images
    for name, cached in found.items():
        assert cached.inputs.shape[:2] == pixels[name].inputs.shape[:2]
        assert torch.equal(cached.rows, pixels[name].rows)
        for view in range(cached.views):
            stored = pixels[name].inputs[view, cached.rows]
            if name == "test":
                wanted = layers(stored)
            else:
                with accelerator.autocast():
                    wanted = layers(stored)
            off = (cached.inputs[view, cached.rows].float() - wanted.float()).norm()
            assert off < 0.01 * wanted.float().norm(), name


@torch.no_grad()
def test_test_images_keep_full_precision(pixels, accelerator, tmp_path):
    layers = Stage(tiny_network().prefix("none"), TRANSFORM)
    found = drained(cache_features(pixels, layers, "features", tmp_path, accelerator))[1]
    assert found["test"].inputs.dtype == torch.float32
    assert found["train"].inputs.dtype == compute_dtype(accelerator)
    wanted = layers(pixels["test"].inputs[0, pixels["test"].rows])
    assert torch.allclose(found["test"].inputs[0, found["test"].rows], wanted, atol=1e-5)


def test_a_batch_draws_its_views_only_where_they_are_random():
    views = torch.arange(4.0).reshape(4, 1, 1).expand(4, 50, 1)
    drawn, labels = held(views, range(50), random_views=True).__getitems__(list(range(50)))
    assert set(drawn.flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}
    plain, _ = held(views, range(50)).__getitems__([7, 3])
    assert plain.flatten().tolist() == [0.0, 0.0]
    assert labels.tolist() == list(range(50))


def test_a_batch_is_taken_by_readable_row():
    inputs = torch.arange(5.0).reshape(1, 5, 1)
    cached = held(inputs, [10, 13], rows=torch.tensor([0, 3]))
    taken, labels = cached.__getitems__([1, 0])
    assert taken.flatten().tolist() == [3.0, 0.0]
    assert labels.tolist() == [13, 10]


def free_disk(monkeypatch, size: int) -> None:
    usage = shutil._ntuple_diskusage(size, 0, size)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(("spare", "cut"), [(1, "block3"), (0, "block1")])
def test_features_that_would_fill_the_disk_are_not_cached(monkeypatch, tmp_path, spare, cut):
    pixels = {"train": held(torch.zeros(2, 5, 3, SIDE, SIDE, dtype=torch.uint8), range(5))}
    needed = 2 * 5 * (128 * 8 * 8) * 4
    free_disk(monkeypatch, 2 * (needed + spare))
    assert choose_cut(tiny_network(), "block3", pixels, tmp_path) == cut


def test_too_little_disk_is_told_in_one_line(monkeypatch, tmp_path):
    free_disk(monkeypatch, 1_500_000_000)
    check_disk(tmp_path, 1_400_000_000)
    with pytest.raises(SourceError) as caught:
        check_disk(tmp_path, 3_000_000_000)
    for words in ("expected 3.0 GB", "found 1.5 GB", "--limit-per-class", "--image-size"):
        assert words in str(caught.value)
