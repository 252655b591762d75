"""Labelled images as every other room sees them, whatever source they came from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from transfer.data.image import Picture

SPLITS = ("train", "validation", "test")
UNEVEN_FROM = 3


@dataclass(frozen=True, kw_only=True)
class DataIssue:
    """Something that was skipped or changed: `where` names the file or row, `why` the reason,
    `skipped` how many images take no part for it."""

    where: str
    why: str
    skipped: int = 1

    def to_json(self) -> dict[str, str]:
        return {"where": self.where, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with labels, opened only when asked for.

    `labels` is int64 (N,), an index into the classes; `names` are N file names or rows, for people;
    `read(i)` gives whatever `load_image` opens.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    read: Callable[[int], Picture]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Split":
        """The same images in the given order, `rows` int (M,)."""
        rows = np.asarray(rows, dtype=np.int64)
        names = tuple(self.names[row] for row in rows)
        return Split(labels=self.labels[rows], names=names, read=lambda i: self.read(int(rows[i])))


def uneven(counts: Iterable[int]) -> bool:
    """Whether a class has so many times the images of another that losses should be weighed."""
    counts = list(counts)
    return bool(max(counts) >= UNEVEN_FROM * min(counts))


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """What a source holds: its splits, its class names in label order, and what was left out."""

    source: str
    revision: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    image_column: str | None = None
    label_column: str | None = None
    problems: tuple[DataIssue, ...] = field(default=())

    def counts(self) -> dict[str, int]:
        """Images a split."""
        return {name: len(split) for name, split in self.splits.items()}

    def class_counts(self) -> dict[str, int]:
        """Images a class, over all splits."""
        labels = np.concatenate([split.labels for split in self.splits.values()])
        numbers = np.bincount(labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True)}

    def skipped(self) -> int:
        """Images that take no part."""
        return sum(problem.skipped for problem in self.problems)

    def with_splits(self, splits: dict[str, Split], *problems: DataIssue) -> "ImageDataset":
        return replace(self, splits=splits, problems=self.problems + problems)


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What a glance at the training images tells: `side` is the median shorter side in pixels,
    `uneven` whether some classes have many times more images than others."""

    train_images: int
    side: int
    grey: bool
    uneven: bool = False
