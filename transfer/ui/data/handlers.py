"""The Data tab's handlers: which datasets a visitor may open, what is in them, what is wrong."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from typing import NamedTuple

import numpy as np

from transfer.cache.timed_cache import TimedCache
from transfer.data import source as datasets
from transfer.data.checks.inspect import inspection_events
from transfer.data.dataset import DatasetSummary, ImageDataset
from transfer.data.image import load_image
from transfer.data.presets import PRESETS, Preset
from transfer.errors import JobError, TransferError
from transfer.jobs.job import shown_source
from transfer.machine.lazy_import import DIGITS_NEED, lazy_import
from transfer.settings import TrainingSettings
from transfer.ui.data.checks import findings, problem_list, progress
from transfer.ui.data.tiles import PICTURES, pictures_of, tiles
from transfer.ui.data.uploads import PHOTOS, UploadHandlers
from transfer.ui.shared.charts import bars
from transfer.ui.shared.components import warning
from transfer.ui.shared.images import data_url, thumbnails

SAMPLES, SMALL = 12, 64  # shown; pixels of one on a tile
SECONDS_BETWEEN_UPDATES = 0.4
OPENED_AT_ONCE = 24
SUMMARIES_CACHED, SECONDS_CACHED = 200, 60.0
DEFAULTS = TrainingSettings()


class Known(NamedTuple):
    """A dataset that was opened: the images in each split, and a few pictures as data URLs."""

    summary: DatasetSummary
    counts: dict[str, int]
    pictures: list[str]

    @property
    def figures(self) -> str:
        return f"{self.summary.classes:,} classes, {sum(self.counts.values()):,} images"


class DataHandlers:
    """`shared` is a server with strangers on it, where no folder of its own disk is opened."""

    def __init__(self, uploads: UploadHandlers, *, shared: bool):
        self.uploads = uploads
        self.shared = shared
        self._slots = threading.BoundedSemaphore(OPENED_AT_ONCE)
        # is local → cache of (source, limit per class) → Known; the Hub is not asked again
        self._summaries = {
            True: TimedCache(SUMMARIES_CACHED, SECONDS_CACHED),
            False: TimedCache(SUMMARIES_CACHED, float("inf")),
        }

    def allowed(self, visitor: str, source: str | None) -> str:
        """The source as `load_splits` takes it. Raises JobError if the visitor may not open it, and
        SourceError if their own photos are too few."""
        source = source.strip() if isinstance(source, str) else ""
        if not source:
            raise JobError("expected a dataset, found nothing; choose one or type its name")
        if source == PHOTOS:
            self.uploads.images(visitor).check()
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
            known = self._remember(allowed, None, images)
        except TransferError as error:
            yield warning(error)
            return
        splits = ", ".join(f"{n:,} {name}" for name, n in known.counts.items())
        pictures = "" if source == PHOTOS else thumbnails(_samples(images))  # those are on cards
        yield (
            f"<p>{escape(shown_source(source.strip()))}: <b>{known.figures}</b> ({splits})</p>"
            f"{pictures}<details><summary>Images per class</summary>"
            f"{bars(images.class_counts())}</details>{problem_list(images.problems)}"
        )

    def look(self, visitor: str, source: str) -> Iterator[str]:
        """The same for a dataset on this machine; of another, what to do to see it."""
        try:
            allowed = self.allowed(visitor, source)
        except TransferError as error:  # of one's own photos is said what is missing where they are
            yield "" if source == PHOTOS else warning(error)
            return
        if _is_local(allowed) or self._known(allowed, None):
            yield from self.show(visitor, source)
            return
        preset = _preset(source)
        title = preset.title if preset else shown_source(source.strip())
        yield f"<p>{escape(title)}.</p><p>Press Show images to download and see it.</p>"

    def tiles(self, visitor: str) -> str:
        """The tiles, with pictures of all that is on this machine."""
        return tiles(self.uploads.newest(visitor), self._pictures)

    def card(self, visitor: str, source: str, known: Known | None = None) -> str:
        """The chosen dataset beside its pictures; `known` is what will be used of it."""
        source = source.strip() if isinstance(source, str) else ""
        preset = _preset(source)
        with suppress(TransferError):
            known = known or self._known(self.allowed(visitor, source), None)
        about = known.figures if known else preset.figures if preset else "not opened yet"
        if source == PHOTOS and not known:
            about = "two classes with five photos each are enough"
        return (
            f'<div class="card">{pictures_of(source, known.pictures if known else ())}'
            f"<p><b>{escape(shown_source(source))}</b><br>{escape(about)}</p></div>"
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

    def summary(self, visitor: str, source: str, settings: TrainingSettings) -> Known | None:
        """For the forecast; None for a Hub dataset not shown yet. Raises TransferError."""
        allowed, limit = self.allowed(visitor, source), settings.limit_per_class
        found = self._known(allowed, limit)
        if found or not _is_local(allowed):
            return found
        return self._remember(allowed, limit, self._open(allowed, settings))

    def _known(self, allowed: str, limit: int | None) -> Known | None:
        return self._summaries[_is_local(allowed)].get((allowed, limit))

    def _pictures(self, source: str) -> list[str]:
        """Of a preset that somebody has opened here."""
        known = self._known("digits" if source == "digits" else f"hub:{source}", None)
        known = known or self._known(source, None)
        return known.pictures if known else []

    def _remember(self, allowed: str, limit: int | None, images: ImageDataset) -> Known:
        pictures = [data_url(picture, SMALL) for picture, _ in _samples(images, PICTURES)]
        known = Known(datasets.summarize(images), images.counts(), pictures)
        return self._summaries[_is_local(allowed)].put((allowed, limit), known)

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


def _preset(source: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.source == source), None)


def _samples(images: ImageDataset, most: int = SAMPLES) -> list[tuple]:
    """(picture, class name) of the first training images of each class."""
    train = images.splits["train"]
    per_class = max(1, most // len(images.classes))
    rows = [np.flatnonzero(train.labels == at)[:per_class] for at in range(len(images.classes))]
    samples = []
    for row in np.concatenate(rows)[:most]:
        with suppress(TransferError):
            samples.append(
                (
                    load_image(train.read(int(row)), greys=images.greys),
                    images.classes[train.labels[row]],
                )
            )
    return samples
