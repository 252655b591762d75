from dataclasses import replace

import numpy as np
import pytest

from tests.data.test_dataset import labelled
from transfer.data.dataset import Split
from transfer.data.splits import (
    ENOUGH_HELD_OUT,
    folds,
    limit_per_class,
    named_like_splits,
    split_called,
    stratified_rows,
    with_all_splits,
)
from transfer.errors import SourceError


def test_the_usual_names_of_splits():
    names = ["Training", "valid", "dev", "TEST", "training_set", "valset", "set", "dataset", "ants"]
    assert [split_called(name) for name in names] == [
        *("train", "validation", "validation", "test", "train", "validation"),
        *(None, None, None),
    ]


def test_names_that_differ_only_in_a_split_are_found():
    assert named_like_splits(["seg_train", "cat", "seg_test"]) == ["seg_test", "seg_train"]
    for names in (["trainA", "testA"], ["Test Images", "train"], ["train2017", "val2017"]):
        assert named_like_splits(names) == sorted(names)
    names = ["bullet_train", "test_tube", "test", "control", "contest", "detrain", "value"]
    assert named_like_splits(names) == []


def test_missing_splits_are_drawn_from_train_by_class():
    labels = [0] * 50 + [1] * 30 + [2] * 20
    images, other = (with_all_splits(labelled(train=labels), seed) for seed in (0, 1))
    assert sorted(images.splits["test"].names) != sorted(other.splits["test"].names)
    assert images.counts() == {"train": 68, "validation": 12, "test": 20}
    names = [name for split in images.splits.values() for name in split.names]
    assert sorted(names) == sorted(f"row {i}" for i in range(100))
    assert np.bincount(images.splits["test"].labels).tolist() == [10, 6, 4]
    assert np.bincount(images.splits["validation"].labels).tolist() == [6, 4, 2]
    for split in images.splits.values():
        assert [labels[split.read(i)] for i in range(len(split))] == split.labels.tolist()


def test_existing_splits_are_left_alone():
    images = labelled(train=[0, 1, 2] * 9, validation=[0, 1, 2], test=[2, 1])
    assert with_all_splits(images, 0).splits == images.splits
    partly = with_all_splits(labelled(train=[0, 1, 2] * 10, test=[0, 1]), 0)
    assert partly.counts() == {"train": 24, "validation": 6, "test": 2}


def test_without_train_all_images_together_are_split():
    def named(split: str) -> Split:
        names = tuple(f"{split} {i}" for i in range(18))
        return Split(labels=np.array([0, 1, 2] * 6), names=names, read=lambda i: names[i])

    parts = {name: named(name) for name in ("validation", "test")}
    images = with_all_splits(labelled().with_splits(parts), 0)
    assert sum(images.counts().values()) == 36
    for split in images.splits.values():
        assert [split.read(i) for i in range(len(split))] == list(split.names)


def test_a_class_with_one_image_stays_in_training_and_one_with_two_gives_one():
    images = with_all_splits(labelled(train=[0] * 10 + [1] * 2 + [2]), 0)
    assert [(images.splits[name].labels == 2).sum() for name in images.splits] == [1, 0, 0]
    assert [(images.splits[name].labels == 1).sum() for name in images.splits] == [1, 0, 1]


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
        ({"train": [0, 0], "test": [2]}, "found none in 'bee', 'cow'"),
        ({"train": [0, 1, 2]}, "expected images for validation"),
        ({"train": [0, 1, 2] * 9, "test": []}, "expected images for test"),
    ],
    ids=["classes missing", "one image a class", "empty test"],
)
def test_what_cannot_be_trained_on_is_refused(splits, words):
    with pytest.raises(SourceError, match=words):
        with_all_splits(labelled(**splits), 0)


def test_wrong_numbers_of_classes_are_refused():
    images = labelled(train=[0] * 9)
    with pytest.raises(SourceError, match="at least 2 classes, found ant"):
        with_all_splits(replace(images, classes=("ant",)), 0)
    many = replace(images, classes=tuple(f"class {i}" for i in range(20)))
    with pytest.raises(SourceError, match="'class 5' and 14 more"):
        with_all_splits(many, 0)


def test_few_images_are_judged_in_stratified_folds_and_a_single_one_of_a_class_is_always_fitted():
    train, validation = np.array([0] * 9 + [1] * 6 + [2]), np.array([0] * 3 + [1] * 3)
    labels = np.concatenate([train, validation])
    judged = folds(train, validation, 0)
    assert [np.bincount(labels[rows], minlength=3).tolist() for _, rows in judged] == [
        [4, 3, 0]
    ] * 3
    assert sorted(np.concatenate([rows for _, rows in judged])) == [i for i in range(22) if i != 15]
    assert all(sorted([*fitted, *rows]) == list(range(22)) for fitted, rows in judged)


def test_enough_validation_images_are_the_only_fold():
    ((fitted, rows),) = folds(np.zeros(100, int), np.zeros(ENOUGH_HELD_OUT, int), 0)
    assert (len(fitted), rows[0], len(rows)) == (100, 100, ENOUGH_HELD_OUT)


def test_a_stratified_sample_has_every_class_in_its_share():
    labels = np.array([0] * 900 + [1] * 98 + [2] * 2)
    rows = stratified_rows(labels, 100, 0)
    assert np.bincount(labels[rows]).tolist() == [90, 10, 1] and (np.diff(rows) > 0).all()
    assert stratified_rows(labels, 1_000, 0).tolist() == list(range(1_000))
