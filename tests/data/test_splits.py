from dataclasses import replace

import numpy as np
import pytest

from tests.data.test_dataset import labelled
from transfer.data.dataset import Split
from transfer.data.splits import limit_per_class, split_called, with_all_splits
from transfer.errors import SourceError


def rows(split) -> list[str]:
    return sorted(split.names)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("dev", "validation"),
        ("TEST", "test"),
        ("training_set", "train"),
        ("Test Set", "test"),
        ("valset", "validation"),
        ("set", None),
        ("dataset", None),
        ("ants", None),
        ("", None),
    ],
)
def test_the_usual_names_of_splits(name, split):
    assert split_called(name) == split


def test_missing_splits_are_made_from_train_and_share_nothing():
    images = with_all_splits(labelled(train=[0] * 50 + [1] * 30 + [2] * 20), 0)
    assert list(images.splits) == ["train", "validation", "test"]
    assert images.counts() == {"train": 68, "validation": 12, "test": 20}
    names = [name for split in images.splits.values() for name in split.names]
    assert sorted(names) == sorted(f"row {i}" for i in range(100))


def test_made_splits_hold_each_class_in_its_share():
    images = with_all_splits(labelled(train=[0] * 50 + [1] * 30 + [2] * 20), 0)
    assert np.bincount(images.splits["test"].labels).tolist() == [10, 6, 4]
    assert np.bincount(images.splits["validation"].labels).tolist() == [6, 4, 2]


def test_pictures_go_with_their_labels_through_every_split():
    labels = [0, 1, 2] * 10
    images = with_all_splits(labelled(train=labels), 3)
    for split in images.splits.values():
        assert [labels[split.read(i)] for i in range(len(split))] == split.labels.tolist()


def test_splits_that_are_there_are_left_alone():
    images = labelled(train=[0, 1, 2] * 9, validation=[0, 1, 2], test=[2, 1])
    assert with_all_splits(images, 0).splits == images.splits
    partly = with_all_splits(labelled(train=[0, 1, 2] * 10, test=[0, 1]), 0)
    assert partly.counts() == {"train": 24, "validation": 6, "test": 2}


def test_without_train_everything_is_one_heap():
    labels = [0, 1, 2] * 20
    images = with_all_splits(labelled(test=labels), 0)
    assert images.counts() == {"train": 42, "validation": 6, "test": 12}
    split = images.splits["train"]
    assert [labels[split.read(i)] for i in range(len(split))] == split.labels.tolist()


def named(split: str, labels: list[int]) -> Split:
    """Pictures that are their own name."""
    names = tuple(f"{split} {i}" for i in range(len(labels)))
    return Split(labels=np.array(labels), names=names, read=lambda i: names[i])


def test_joined_splits_keep_picture_and_name_together():
    parts = {name: named(name, [0, 1, 2] * 6) for name in ("validation", "test")}
    images = with_all_splits(labelled().with_splits(parts), 0)
    assert sum(images.counts().values()) == 36
    for split in images.splits.values():
        assert [split.read(i) for i in range(len(split))] == list(split.names)


def test_the_seed_decides():
    images = labelled(train=[0, 1, 2] * 20)
    first, again, other = (with_all_splits(images, seed).splits["test"] for seed in (0, 0, 1))
    assert first.names == again.names
    assert rows(first) != rows(other)


def test_a_class_with_one_image_stays_in_training():
    images = with_all_splits(labelled(train=[0] * 10 + [1] * 10 + [2]), 0)
    assert 2 in images.splits["train"].labels
    assert 2 not in images.splits["validation"].labels
    assert 2 not in images.splits["test"].labels


def test_a_class_with_two_images_gives_one_away():
    images = with_all_splits(labelled(train=[0] * 10 + [1] * 10 + [2] * 2), 0)
    assert (images.splits["test"].labels == 2).sum() == 1
    assert (images.splits["train"].labels == 2).sum() == 1


def test_a_limit_takes_as_many_of_each_class_in_each_split():
    images = labelled(train=[0] * 50 + [1] * 3 + [2] * 9, test=[0] * 8 + [1])
    limited = limit_per_class(images, 5, 0)
    assert np.bincount(limited.splits["train"].labels).tolist() == [5, 3, 5]
    assert np.bincount(limited.splits["test"].labels).tolist() == [5, 1]
    again, other = (limit_per_class(images, 5, seed).splits["train"].names for seed in (0, 1))
    assert limited.splits["train"].names == again != other


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": [0, 0, 1, 1], "test": [2]}, "found none in 'cow'"),
        ({"train": [0, 0], "test": [2]}, "found none in 'bee', 'cow'"),
        ({"train": [0, 1, 2]}, "expected images for validation"),
        ({"train": [0, 1, 2] * 9, "test": []}, "expected images for test"),
    ],
    ids=["one class missing", "two missing", "one image a class", "empty test"],
)
def test_what_cannot_be_trained_on_is_told(splits, words):
    with pytest.raises(SourceError, match=words):
        with_all_splits(labelled(**splits), 0)


def test_one_class_is_too_few():
    one = replace(labelled(train=[0] * 9), classes=("ant",))
    with pytest.raises(SourceError, match="at least 2 classes, found ant"):
        with_all_splits(one, 0)


def test_many_missing_classes_are_counted():
    many = replace(labelled(train=[0] * 9), classes=tuple(f"class {i}" for i in range(20)))
    with pytest.raises(SourceError, match="'class 5' and 14 more"):
        with_all_splits(many, 0)
