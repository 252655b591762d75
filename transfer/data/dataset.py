"""Labelled images in splits, whatever source they come from."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from transfer.data.greys import PER_PICTURE, GreyScale
from transfer.data.image import Picture
from transfer.errors import SourceError
from transfer.formatting import encodable

SPLITS = ("train", "validation", "test")
UNEVEN_FROM = 3  # times the images of the smallest class


@dataclass(frozen=True)
class DataIssue:
    """Something that was skipped, changed or guessed: `where` names the file, row or column, `why`
    the reason, `skipped` how many images are left out because of it."""

    where: str
    why: str
    skipped: int = 1

    def __post_init__(self):
        object.__setattr__(self, "where", encodable(self.where))
        object.__setattr__(self, "why", encodable(self.why))

    def to_json(self) -> dict[str, str]:
        return {"where": self.where, "why": self.why}


def listed(names: Iterable[str]) -> str:
    """The first few names, for a sentence."""
    names = list(names)
    shown = ", ".join(repr(name[:40]) for name in names[:5]) or "none"
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def because(issues: Iterable[DataIssue]) -> str:
    """The most frequent reasons why nothing was found, in brackets for a sentence."""
    kinds: dict[str, list[DataIssue]] = {}
    for issue in issues:
        kinds.setdefault(re.sub("'.*'", "", issue.why), []).append(issue)
    often = sorted(kinds.values(), key=len, reverse=True)[:3]
    reasons = (
        f"{first.where[-60:]!r}: {first.why}" + f", and {len(more):,} more like it" * bool(more)
        for first, *more in often
    )
    return f" ({'; '.join(reasons)})" if often else ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """N labelled images, opened only when they are read.

    `labels` is int64 (N,), indices into the classes; `names` are file names or rows, for people;
    `read(i)` returns anything that `load_image` opens. `revision` is set where the images are not
    the dataset's own.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    read: Callable[[int], Picture]
    revision: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names_hash(self) -> str:
        """sha256 over all names in their order."""
        return hashlib.sha256("\0".join(self.names).encode("utf-8", "surrogateescape")).hexdigest()

    def take(self, rows: np.ndarray) -> "Split":
        """These of the images, in this order; `rows` is int (M,)."""
        rows = np.asarray(rows, dtype=np.int64)
        names = tuple(self.names[row] for row in rows)
        return Split(labels=self.labels[rows], names=names, read=lambda i: self.read(int(rows[i])))


def uneven(counts: Iterable[int]) -> bool:
    """Whether class sizes differ so much that the loss needs class weights."""
    counts = list(counts)
    return bool(max(counts) >= UNEVEN_FROM * min(counts))


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """A dataset: its splits, its class names in label order, and what was left out."""

    source: str
    revision: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    image_column: str | None = None
    label_column: str | None = None
    problems: tuple[DataIssue, ...] = ()
    greys: GreyScale = PER_PICTURE

    def counts(self) -> dict[str, int]:
        """Split → images."""
        return {name: len(split) for name, split in self.splits.items()}

    def class_counts(self) -> dict[str, int]:
        """Class → images, over all splits."""
        labels = np.concatenate([split.labels for split in self.splits.values()])
        numbers = np.bincount(labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True)}

    def check_classes(self) -> None:
        """Raises SourceError below two."""
        if len(self.classes) < 2:
            found = ", ".join(self.classes) or "none"
            raise SourceError(
                f"expected at least 2 classes, found {found}{because(self.problems)}; add images "
                "of another"
            )

    def skipped(self) -> int:
        """How many images are left out."""
        return sum(problem.skipped for problem in self.problems)

    def with_splits(self, splits: dict[str, Split], *problems: DataIssue) -> "ImageDataset":
        return replace(self, splits=splits, problems=self.problems + problems)


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What the default settings depend on: `side` is the median shorter side in pixels of a few
    training images, `drawings` whether these are drawings or letters rather than photos, `uneven`
    whether class sizes differ by UNEVEN_FROM times or more."""

    train_images: int
    side: int
    drawings: bool
    uneven: bool = False
    classes: int = 2
