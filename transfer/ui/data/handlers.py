"""What the Data tab does: which sources a visitor may open, what they hold, what is wrong there."""

import threading
import time
from collections.abc import Iterator
from html import escape

import numpy as np

from transfer.data import source as sources
from transfer.data.checks.inspect import inspection_events
from transfer.data.image import load_image
from transfer.errors import JobError, TransferError
from transfer.jobs.job import shown_source
from transfer.settings import TrainingSettings
from transfer.ui.data.checks import findings, progress
from transfer.ui.data.summaries import SummaryCache
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.shared.charts import bars
from transfer.ui.shared.images import thumbnails
from transfer.ui.shared.lazy_import import DIGITS_NEED, lazy_import

SAMPLES = 12
SECONDS_BETWEEN_LOOKS = 0.4
OPENED_AT_ONCE = 24  # three times as many as visitors wait for


class DataHandlers:
    """`shared` is a server with strangers on it: no folder of its own disk is opened there."""

    def __init__(self, own: UploadHandlers, *, shared: bool):
        self.own = own
        self.shared = shared
        self.looks = SummaryCache()
        self._turns = threading.BoundedSemaphore(OPENED_AT_ONCE)

    def allowed(self, visitor: str, source: str | None) -> str:
        """The source as `load_splits` takes it. Raises JobError where a visitor may not have it."""
        source = source.strip() if isinstance(source, str) else ""
        if not source:
            raise JobError("expected a source, found nothing; choose `digits` or type one")
        if path := self.own.source_of(visitor, source):
            return str(path)
        if self.shared and source != "digits" and not source.startswith("hub:"):
            return f"hub:{source}"
        return source

    def show(self, visitor: str, source: str) -> str:
        """What a source holds, with samples, or in a sentence why it cannot be used."""
        try:
            allowed = self.allowed(visitor, source)
            images = self._open(allowed)
            self.looks.remember(allowed, images)
        except TransferError as error:
            return f'<p class="warning">{escape(str(error))}</p>'
        counts = ", ".join(f"{n:,} {name}" for name, n in images.counts().items())
        told = "".join(f"<li>{escape(p.where)}: {escape(p.why)}</li>" for p in images.problems[:10])
        return (
            f"<p>{escape(shown_source(source.strip()))}: <b>{len(images.classes)} classes, "
            f"{sum(images.counts().values()):,} images</b> "
            f"({counts})</p>{bars(images.class_counts())}"
            + (f'<ul class="warning">{told}</ul>' if told else "")
            + thumbnails(_samples(images))
        )

    def look(self, visitor: str, source: str) -> Iterator[str]:
        """Look at every image of a source: how far that is, then what was found."""
        try:
            images = self._open(self.allowed(visitor, source))
            told, looking = 0.0, inspection_events(images)
            while True:
                try:
                    event = next(looking)
                except StopIteration as end:
                    yield findings(end.value)
                    return
                if time.monotonic() - told > SECONDS_BETWEEN_LOOKS:
                    told = time.monotonic()
                    yield progress(event)
        except TransferError as error:
            yield f'<p class="warning">{escape(str(error))}</p>'

    def _open(self, allowed: str) -> sources.ImageDataset:
        """Raises TransferError, also where too many are being opened: that goes on when whoever
        asked has chosen another."""
        if not self._turns.acquire(blocking=False):
            raise JobError("the server opens many sources already; try again in a minute")
        try:
            lazy_import(DIGITS_NEED)
            return sources.load_splits(allowed, TrainingSettings())
        finally:
            self._turns.release()


def _samples(images: sources.ImageDataset) -> list[tuple]:
    """(picture, class name) of a few training images of each class in turn."""
    train, chosen = images.splits["train"], []
    a_class = max(1, SAMPLES // len(images.classes))
    for label in range(len(images.classes)):
        chosen += list(np.flatnonzero(train.labels == label)[:a_class])
    shown = []
    for i in chosen[:SAMPLES]:
        try:
            shown.append((load_image(train.read(int(i))), images.classes[train.labels[i]]))
        except TransferError:
            continue
    return shown
