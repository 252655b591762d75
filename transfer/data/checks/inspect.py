"""What a source holds and what is wrong with it, before anything is trained on it."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from transfer.data.checks.duplicates import find_duplicates
from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import (
    Balance,
    Duplicates,
    Findings,
    Group,
    Sizes,
    by_reason,
    described,
    duplicates_line,
    sizes_line,
)
from transfer.data.dataset import DataIssue, ImageDataset, uneven
from transfer.errors import SourceError
from transfer.events import CacheProgress

__all__ = [
    "Balance",
    "Duplicates",
    "Findings",
    "Group",
    "Sizes",
    "by_reason",
    "described",
    "duplicates_line",
    "inspect",
    "inspection_events",
    "sizes_line",
]

FEWEST_IMAGES = 5
TINY_SIDE = 32
LONG_FROM = 4


def inspect(images: ImageDataset, tell: Callable[[CacheProgress], None] | None = None) -> Findings:
    """Look at every image, telling how far it is. Raises SourceError below two classes."""
    looking = inspection_events(images)
    while True:
        try:
            progress = next(looking)
        except StopIteration as end:
            return end.value
        if tell:
            tell(progress)


def inspection_events(images: ImageDataset) -> Iterator[CacheProgress]:
    """The same, saying on the way how far it is; returns the findings. Closing it stops it."""
    if len(images.classes) < 2:
        found = ", ".join(images.classes) or "none"
        raise SourceError(f"expected at least 2 classes, found {found}; add images of another")
    seen, started = ScanResult(images), time.monotonic()
    for done in seen.look():
        seconds = time.monotonic() - started
        yield CacheProgress(
            stage="looking at all images", done=done, total=len(seen), seconds=seconds
        )
    return _judged(seen)


def _judged(seen: ScanResult) -> Findings:
    images, sizes, balance = seen.images, _sizes(seen), _balance(seen)
    duplicates, alike = find_duplicates(seen)
    unreadable = (DataIssue(where=seen.name(row), why=why) for row, why in seen.unreadable.items())
    odd = (*_few(seen), *_unevenness(balance), *_odd_sizes(seen, sizes))
    return Findings(
        source=images.source,
        revision=images.revision,
        image_column=images.image_column,
        label_column=images.label_column,
        counts=_counts(seen),
        sizes=sizes,
        balance=balance,
        duplicates=duplicates,
        problems=(*images.problems, *unreadable, *odd, *alike),
    )


def _counts(seen: ScanResult) -> dict[str, dict[str, int]]:
    """Class → split → images."""
    splits = [seen.counts(seen.split_of == at).tolist() for at in range(len(seen.split_names))]
    return {
        name: dict(zip(seen.split_names, row, strict=True))
        for name, *row in zip(seen.images.classes, *splits, strict=True)
    }


def _balance(seen: ScanResult) -> Balance:
    counts = seen.counts(seen.to_train_on())
    largest, smallest = (
        (seen.images.classes[at], int(counts[at])) for at in (counts.argmax(), counts.argmin())
    )
    return Balance(largest=largest, smallest=smallest, uneven=uneven(counts.tolist()))


def _few(seen: ScanResult) -> Iterator[DataIssue]:
    counts = seen.counts(seen.to_train_on() & seen.readable())
    where = " in train" if seen.trains.any() and not seen.trains.all() else ""
    for name, count in zip(seen.images.classes, counts, strict=True):
        if count < FEWEST_IMAGES:
            images = f"{count} image{'' if count == 1 else 's'} that can be read{where}"
            yield DataIssue(where=f"class {name!r}", why=f"{images}; at least five are wanted")


def _unevenness(balance: Balance) -> Iterator[DataIssue]:
    (large, most), (small, fewest) = balance.largest, balance.smallest
    if balance.uneven and fewest:
        why = (
            f"uneven: {most} images of {large!r}, {fewest} of {small!r} to train on; class "
            "weights are used in training, so that the rare ones count"
        )
        yield DataIssue(where="classes", why=why)


def _sizes(seen: ScanResult) -> Sizes | None:
    sides = seen.sides[seen.readable()]
    if len(sides) == 0:
        return None
    return Sizes(
        smallest=int(sides.min()),
        median=int(np.median(sides[:, 0])),
        largest=int(sides.max()),
        tiny=int(_tiny(sides).sum()),
        long=int(_long(sides).sum()),
    )


def _tiny(sides: np.ndarray) -> np.ndarray:
    return sides[:, 0] < TINY_SIDE


def _long(sides: np.ndarray) -> np.ndarray:
    return sides[:, 1] >= LONG_FROM * sides[:, 0]


def _odd_sizes(seen: ScanResult, sizes: Sizes | None) -> Iterator[DataIssue]:
    rows = np.flatnonzero(seen.readable())
    tiny, long = rows[_tiny(seen.sides[rows])], rows[_long(seen.sides[rows])]
    if len(tiny) and sizes.median >= TINY_SIDE:
        why = f"under {TINY_SIDE} px a side, where most are larger"
        yield DataIssue(where=_first_of(seen, tiny), why=why)
    if len(long):
        why = f"at least {LONG_FROM} times as long as wide; squashed to a square, little is left"
        yield DataIssue(where=_first_of(seen, long), why=why)


def _first_of(seen: ScanResult, rows: np.ndarray) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return seen.name(rows[0]) + more
