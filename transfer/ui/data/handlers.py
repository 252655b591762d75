"""The Data tab's handlers: which datasets a visitor may open, what is in them, what is wrong."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from html import escape

import numpy as np

from transfer.data import source as datasets
from transfer.data.checks.inspect import inspection_events
from transfer.data.dataset import DatasetSummary, ImageDataset
from transfer.data.image import load_image
from transfer.errors import JobError, TransferError
from transfer.jobs.job import shown_source
from transfer.settings import TrainingSettings
from transfer.ui.data.checks import findings, problem_list, progress
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.shared.charts import bars
from transfer.ui.shared.components import warning
from transfer.ui.shared.images import thumbnails
from transfer.ui.shared.lazy_import import DIGITS_NEED, lazy_import
from transfer.ui.shared.timed_cache import TimedCache

SAMPLES = 12
SECONDS_BETWEEN_UPDATES = 0.4
OPENED_AT_ONCE = 24
SUMMARIES_CACHED, SECONDS_CACHED = 200, 60.0
DEFAULTS = TrainingSettings()

Summary = tuple[DatasetSummary, dict[str, int]]  # with the number of images in each split


class DataHandlers:
    """`shared` is a server with strangers on it, where no folder of its own disk is opened."""

    def __init__(self, uploads: UploadHandlers, *, shared: bool):
        self.uploads = uploads
        self.shared = shared
        self._slots = threading.BoundedSemaphore(OPENED_AT_ONCE)
        # is local → cache of (source, limit per class) → Summary; the Hub is not asked again
        self._summaries = {
            True: TimedCache(SUMMARIES_CACHED, SECONDS_CACHED),
            False: TimedCache(SUMMARIES_CACHED, float("inf")),
        }

    def allowed(self, visitor: str, source: str | None) -> str:
        """The source as `load_splits` takes it. Raises JobError if the visitor may not open it."""
        source = source.strip() if isinstance(source, str) else ""
        if not source:
            raise JobError("expected a dataset, found nothing; choose one or type its name")
        if path := self.uploads.path_of(visitor, source):
            return str(path)
        if self.shared and source != "digits" and not source.startswith("hub:"):
            return f"hub:{source}"
        return source

    def show(self, visitor: str, source: str) -> Iterator[str]:
        """Yields what is in a dataset, with samples, or one sentence why it cannot be used."""
        try:
            allowed = self.allowed(visitor, source)
            images = self._open(allowed, DEFAULTS)
            self._remember(allowed, None, images)
        except TransferError as error:
            yield warning(error)
            return
        counts = images.counts()
        splits = ", ".join(f"{n:,} {name}" for name, n in counts.items())
        yield (
            f"<p>{escape(shown_source(source.strip()))}: <b>{len(images.classes)} classes, "
            f"{sum(counts.values()):,} images</b> ({splits})</p>{bars(images.class_counts())}"
            f"{problem_list(images.problems)}{thumbnails(_samples(images))}"
        )

    def check(self, visitor: str, source: str) -> Iterator[str]:
        """Check every image of a dataset; yields the progress, then the findings."""
        try:
            steps = inspection_events(self._open(self.allowed(visitor, source), DEFAULTS))
            shown = 0.0
            while True:
                event = next(steps)
                if time.monotonic() - shown > SECONDS_BETWEEN_UPDATES:
                    shown = time.monotonic()
                    yield progress(event)
        except StopIteration as end:
            yield findings(end.value)
        except TransferError as error:
            yield warning(error)

    def summary(self, visitor: str, source: str, settings: TrainingSettings) -> Summary | None:
        """For the forecast; None for a Hub dataset not shown yet. Raises TransferError."""
        allowed, limit = self.allowed(visitor, source), settings.limit_per_class
        found = self._summaries[_is_local(allowed)].get((allowed, limit))
        if found or not _is_local(allowed):
            return found
        return self._remember(allowed, limit, self._open(allowed, settings))

    def _remember(self, allowed: str, limit: int | None, images: ImageDataset) -> Summary:
        summary = datasets.summarize(images), images.counts()
        return self._summaries[_is_local(allowed)].put((allowed, limit), summary)

    def _open(self, allowed: str, settings: TrainingSettings) -> ImageDataset:
        """Raises TransferError. A cancelled request still holds its slot until it has ended."""
        if not self._slots.acquire(blocking=False):
            raise JobError("the server is opening many datasets; try again in a minute")
        try:
            lazy_import(DIGITS_NEED)
            return datasets.load_splits(allowed, settings)
        finally:
            self._slots.release()


def _is_local(source: str) -> bool:
    return source == "digits" or datasets.local_path(source) is not None


def _samples(images: ImageDataset) -> list[tuple]:
    """(picture, class name) of the first training images of each class."""
    train = images.splits["train"]
    per_class = max(1, SAMPLES // len(images.classes))
    rows = [np.flatnonzero(train.labels == at)[:per_class] for at in range(len(images.classes))]
    samples = []
    for row in np.concatenate(rows)[:SAMPLES]:
        with suppress(TransferError):
            samples.append(
                (
                    load_image(train.read(int(row)), greys=images.greys),
                    images.classes[train.labels[row]],
                )
            )
    return samples
