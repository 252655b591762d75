"""What a dataset holds and what is wrong with it, before anything is trained on it."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from transfer.data.checks.duplicates import find_duplicates
from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Balance, Findings, Sizes
from transfer.data.dataset import DataIssue, ImageDataset, uneven
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
    images.check_classes()
    scan, started = ScanResult(images), time.monotonic()
    for done in scan.run():
        seconds = time.monotonic() - started
        yield CacheProgress(stage="checking images", done=done, total=len(scan), seconds=seconds)
    return _findings(scan)


def _findings(scan: ScanResult) -> Findings:
    images = scan.images
    by_split = [scan.counts(scan.split_of == at).tolist() for at in range(len(scan.split_names))]
    balance, imbalance = _balance(scan)
    sizes, odd_sizes = _sizes(scan)
    duplicates, copies = find_duplicates(scan)
    greys = (DataIssue(which, how, skipped=0) for which, how in images.greys.lines())
    unreadable = (DataIssue(scan.name(row), why) for row, why in sorted(scan.unreadable.items()))
    return Findings(
        source=images.source,
        revision=images.revision,
        image_column=images.image_column,
        label_column=images.label_column,
        counts={
            name: dict(zip(scan.split_names, row, strict=True))
            for name, *row in zip(images.classes, *by_split, strict=True)
        },
        sizes=sizes,
        balance=balance,
        duplicates=duplicates,
        problems=(*images.problems, *greys, *unreadable, *imbalance, *odd_sizes, *copies),
    )


def _balance(scan: ScanResult) -> tuple[Balance, list[DataIssue]]:
    """The largest and the smallest class; small classes, and classes of uneven sizes."""
    classes, counts = scan.images.classes, scan.counts(scan.trainable())
    readable = scan.counts(scan.trainable() & scan.readable()).tolist()
    where = " in train" if scan.trains.any() and not scan.trains.all() else ""
    why = f"{where}; add some, five at least"
    problems = [
        DataIssue(f"class {name!r}", f"{count} readable image{'s' * (count != 1)}{why}")
        for name, count in zip(classes, readable, strict=True)
        if count < FEWEST_IMAGES
    ]
    problems += _alike(classes)
    large, most = classes[counts.argmax()], int(counts.max())
    small, fewest = classes[counts.argmin()], int(counts.min())
    balance = Balance(largest=(large, most), smallest=(small, fewest), uneven=uneven(counts))
    if balance.uneven and fewest:
        why = (
            f"uneven: {most} training images of {large!r}, {fewest} of {small!r}; training uses "
            "class weights so that rare classes count"
        )
        problems.append(DataIssue("classes", why))
    return balance, problems


def _alike(classes: tuple[str, ...]) -> list[DataIssue]:
    """Classes whose names differ only in capital letters."""
    folded = defaultdict(list)
    for name in classes:
        folded[name.casefold()].append(repr(name))
    why = "differ only in capital letters; if they are one class, put their images together"
    return [
        DataIssue("classes", f"{' and '.join(names)} {why}", skipped=0)
        for names in folded.values()
        if len(names) > 1
    ]


def _sizes(scan: ScanResult) -> tuple[Sizes | None, list[DataIssue]]:
    """The sizes of the readable images, and which are odd."""
    rows = np.flatnonzero(scan.readable())
    if len(rows) == 0:
        return None, []
    short, long = scan.sides[rows].T
    tiny, thin = rows[short < TINY_SIDE], rows[long >= LONG_FROM * short]
    smallest, median, largest = int(short.min()), int(np.median(short)), int(long.max())
    sizes = Sizes(smallest=smallest, median=median, largest=largest, tiny=len(tiny), long=len(thin))
    under = f"under {TINY_SIDE} px a side, while most images are larger"
    strip = f"at least {LONG_FROM} times as long as wide; squashed to a square, little is left"
    problems = []
    for odd, why in ((tiny if median >= TINY_SIDE else [], under), (thin, strip)):
        if len(odd):
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            problems.append(DataIssue(f"{scan.name(odd[0])}{more}", why))
    return sizes, problems
