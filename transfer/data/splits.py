"""Train, validation and test: used where a dataset has them, drawn where it does not."""

import re
from collections.abc import Iterable

import numpy as np

from transfer.data.dataset import SPLITS, ImageDataset, Split, listed
from transfer.errors import SourceError

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.2
ENOUGH_HELD_OUT, FOLDS = 500, 3
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# in longer names, as seg_train or trainA
SPLIT_WORDS = SPLIT_NAMES | {"eval": "validation", "evaluation": "validation", "pred": "test"}
OF_ANY_SPLIT = ("", "img", "imgs", "photos", "pictures", "split", "folder", "files")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_]+?(?=[A-Z\W\d_]|$)|\d+")


def split_called(name: str) -> str | None:
    """The split that a name stands for, or None; "set" may follow it: test_set, testset."""
    return SPLIT_NAMES.get(re.sub("[ _-]?set$", "", name.lower()))


def named_like_splits(names: Iterable[str]) -> list[str]:
    """Those that differ only in the split they name, as seg_train and seg_test, or trainA and
    testA: hardly classes. A train_station and a test_tube are."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        split, others = split_within(name)
        if split:
            found.setdefault(others, {}).setdefault(split, []).append(name)
    return sorted(
        name
        for splits in found.values()
        if len(splits) > 1
        for alike in splits.values()
        for name in alike
    )


def split_within(name: str) -> tuple[str | None, str]:
    """(the split that a word of the name stands for or None, the other words): "train2017" is
    train and "2017"."""
    words = [re.sub("(set|data|images?)$", "", word.lower()) for word in WORD.findall(name)]
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    others = (word for word in words if word not in SPLIT_WORDS and word not in OF_ANY_SPLIT)
    return (splits[0] if splits else None), " ".join(others)


def with_all_splits(images: ImageDataset, seed: int) -> ImageDataset:
    """Draw the missing splits from train, stratified by class and seeded.

    Without a train split, all images together are used as one. A class with one image stays in
    training. Raises SourceError when a class has no image to train on.
    """
    splits = dict(images.splits)
    if "train" not in splits:
        splits = {"train": _joined([splits[name] for name in splits])}
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if name not in splits:
            splits["train"], splits[name] = _stratified(splits["train"], share, seed)
    return _checked(images.with_splits({name: splits[name] for name in SPLITS}))


def with_whole_splits(images: ImageDataset) -> ImageDataset:
    """All images together in the place of each missing split, to judge a model that was trained on
    others: nothing has to be drawn for training."""
    whole = _joined([*images.splits.values()])
    return images.with_splits({name: images.splits.get(name, whole) for name in SPLITS})


def limit_per_class(images: ImageDataset, limit: int, seed: int) -> ImageDataset:
    """At most `limit` images of each class in each split, drawn by the seed."""
    limited = {
        name: _sorted(split, [rows[:limit] for rows in _rows_by_class(split.labels, seed)])
        for name, split in images.splits.items()
    }
    return images.with_splits(limited)


def _sorted(split: Split, rows: list[np.ndarray]) -> Split:
    return split.take(np.sort(np.concatenate(rows))) if rows else split


def _rows_by_class(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _stratified(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """(rest, drawn): of each class a share is drawn, at least one image where it has two."""
    classes = _rows_by_class(split.labels, seed)
    numbers = [min(max(round(share * len(rows)), 1), len(rows) - 1) for rows in classes]
    rest = [rows[number:] for rows, number in zip(classes, numbers, strict=True)]
    drawn = [rows[:number] for rows, number in zip(classes, numbers, strict=True)]
    return _sorted(split, rest), _sorted(split, drawn)


def folds(train: np.ndarray, validation: np.ndarray, seed: int) -> list[tuple]:
    """[(rows to fit, rows to judge)], int64, into training and validation images, one after the
    other.

    `train` and `validation` are their labels, int64. With enough validation images they are the
    only fold. A few dozen cannot tell two classifiers apart: all images together are split into
    stratified folds instead, each judged by a fit on the others (cross-validation; Hastie et al.
    2009, section 7.10). A class with a single image is always fitted, never judged.
    """
    labels, first = np.concatenate([train, validation]), len(train)
    if len(validation) >= ENOUGH_HELD_OUT:
        return [(np.arange(first), np.arange(first, len(labels)))]
    return stratified_folds(labels, FOLDS, seed)


def stratified_folds(labels: np.ndarray, number: int, seed: int) -> list[tuple]:
    """[(rows to fit, rows to judge)], int64: each image is judged once, by a fit on the others.

    `labels` is int64 (N,). A class with fewer images than folds is judged in as many folds as it
    has images; one with a single image is always fitted, never judged.
    """
    random, fold = np.random.default_rng(seed), np.full(len(labels), -1)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold[rows] = (np.arange(len(rows)) + label) % number
    judged = (np.flatnonzero(fold == i) for i in range(number))
    return [(np.flatnonzero(fold != fold[rows[0]]), rows) for rows in judged if len(rows)]


def stratified_rows(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most about `most` rows, int64 in order: the same share of each class, at least one."""
    if len(labels) <= most:
        return np.arange(len(labels))
    random, share = np.random.default_rng(seed), most / len(labels)
    drawn = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        drawn.append(random.permutation(rows)[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(drawn))


def _joined(splits: list[Split]) -> Split:
    starts = np.cumsum([0] + [len(split) for split in splits])

    def read(i: int):
        part = int(np.searchsorted(starts, i, side="right")) - 1
        return splits[part].read(i - int(starts[part]))

    return Split(
        labels=np.concatenate([split.labels for split in splits]),
        names=tuple(name for split in splits for name in split.names),
        read=read,
    )


def _checked(images: ImageDataset) -> ImageDataset:
    images.check_classes()
    present = np.bincount(images.splits["train"].labels, minlength=len(images.classes))
    if empty := [name for name, n in zip(images.classes, present, strict=True) if n == 0]:
        raise SourceError(
            f"expected images to train on in every class, found none in {listed(empty)}; "
            "add images or remove the class"
        )
    for name in ("validation", "test"):
        if len(images.splits[name]) == 0:
            raise SourceError(
                f"expected images for {name}, found too few to draw any; "
                "add images, at least five a class"
            )
    return images
