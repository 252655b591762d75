"""What a dataset holds and what is wrong with it, before anything is trained on it."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from transfer.data.checks.duplicates import find_duplicates
from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Balance, Findings, Sizes
from transfer.data.dataset import DataIssue, ImageDataset, uneven
from transfer.errors import SourceError
from transfer.events import CacheProgress

FEWEST_IMAGES = 5  # a class
TINY_SIDE = 32  # px: VGG16 halves five times
LONG_FROM = 4  # times as long as wide


def inspect(
    images: ImageDataset, report: Callable[[CacheProgress], None] | None = None
) -> Findings:
    """Check every image, reporting progress. Raises SourceError below two classes."""
    events = inspection_events(images)
    while True:
        try:
            progress = next(events)
        except StopIteration as end:
            return end.value
        if report:
            report(progress)


def inspection_events(images: ImageDataset) -> Iterator[CacheProgress]:
    """The same as a generator of progress that returns the findings. Closing it cancels."""
    if len(images.classes) < 2:
        found = ", ".join(images.classes) or "none"
        raise SourceError(f"expected at least 2 classes, found {found}; add images of another")
    scan, started = ScanResult(images), time.monotonic()
    for done in scan.run():
        seconds = time.monotonic() - started
        yield CacheProgress(stage="checking images", done=done, total=len(scan), seconds=seconds)
    return _findings(scan)


def _findings(scan: ScanResult) -> Findings:
    images, sizes, balance = scan.images, _sizes(scan), _balance(scan)
    duplicates, copies = find_duplicates(scan)
    unreadable = (DataIssue(where=scan.name(row), why=why) for row, why in scan.unreadable.items())
    odd = (*_small_classes(scan), *_imbalance(balance), *_odd_sizes(scan, sizes))
    return Findings(
        source=images.source,
        revision=images.revision,
        image_column=images.image_column,
        label_column=images.label_column,
        counts=_counts(scan),
        sizes=sizes,
        balance=balance,
        duplicates=duplicates,
        problems=(*images.problems, *unreadable, *odd, *copies),
    )


def _counts(scan: ScanResult) -> dict[str, dict[str, int]]:
    """Class → split → images."""
    splits = [scan.counts(scan.split_of == at).tolist() for at in range(len(scan.split_names))]
    return {
        name: dict(zip(scan.split_names, row, strict=True))
        for name, *row in zip(scan.images.classes, *splits, strict=True)
    }


def _balance(scan: ScanResult) -> Balance:
    counts = scan.counts(scan.trainable())
    largest, smallest = (
        (scan.images.classes[at], int(counts[at])) for at in (counts.argmax(), counts.argmin())
    )
    return Balance(largest=largest, smallest=smallest, uneven=uneven(counts.tolist()))


def _small_classes(scan: ScanResult) -> Iterator[DataIssue]:
    counts = scan.counts(scan.trainable() & scan.readable())
    where = " in train" if scan.trains.any() and not scan.trains.all() else ""
    for name, count in zip(scan.images.classes, counts, strict=True):
        if count < FEWEST_IMAGES:
            images = "image" if count == 1 else "images"
            why = f"{count} readable {images}{where}; add some, five at least"
            yield DataIssue(where=f"class {name!r}", why=why)


def _imbalance(balance: Balance) -> Iterator[DataIssue]:
    (large, most), (small, fewest) = balance.largest, balance.smallest
    if balance.uneven and fewest:
        why = (
            f"uneven: {most} training images of {large!r}, {fewest} of {small!r}; training uses "
            "class weights so that rare classes count"
        )
        yield DataIssue(where="classes", why=why)


def _sizes(scan: ScanResult) -> Sizes | None:
    sides = scan.sides[scan.readable()]
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


def _odd_sizes(scan: ScanResult, sizes: Sizes | None) -> Iterator[DataIssue]:
    rows = np.flatnonzero(scan.readable())
    tiny, long = rows[_tiny(scan.sides[rows])], rows[_long(scan.sides[rows])]
    if len(tiny) and sizes.median >= TINY_SIDE:
        why = f"under {TINY_SIDE} px a side, while most images are larger"
        yield DataIssue(where=_first_of(scan, tiny), why=why)
    if len(long):
        why = f"at least {LONG_FROM} times as long as wide; squashed to a square, little is left"
        yield DataIssue(where=_first_of(scan, long), why=why)


def _first_of(scan: ScanResult, rows: np.ndarray) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return scan.name(rows[0]) + more
