"""What is known of sources that were opened, for foretelling how long a training will take."""

import time
from pathlib import Path

from transfer.data.dataset import DatasetSummary, ImageDataset
from transfer.data.source import load_splits, summarize
from transfer.settings import TrainingSettings
from transfer.ui.shared.lazy_import import DIGITS_NEED, lazy_import

SECONDS_KNOWN = 60.0
MOST_SOURCES = 200


class SummaryCache:
    """By source: the images in it, and what a glance at them told."""

    def __init__(self):
        self._seen: dict[tuple, tuple[float, DatasetSummary, dict[str, int]]] = {}

    def remember(self, source: str, images: ImageDataset, limit: int | None = None) -> None:
        """Raises SourceError where not one of its images can be read."""
        while len(self._seen) >= MOST_SOURCES:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[source, limit] = (time.monotonic(), summarize(images), images.counts())

    def of(
        self, source: str, settings: TrainingSettings
    ) -> tuple[DatasetSummary, dict[str, int]] | None:
        """(look, images a split); what is on this machine is opened for it, the Hub is not asked.

        Raises TransferError where it cannot be opened.
        """
        key = source, settings.limit_per_class
        seen = self._seen.get(key)
        is_here = not source.startswith("hub:") and _is_here(source)
        if is_here and (seen is None or time.monotonic() - seen[0] > SECONDS_KNOWN):
            lazy_import(DIGITS_NEED)
            self.remember(source, load_splits(source, settings), settings.limit_per_class)
            seen = self._seen[key]
        return seen and seen[1:]


def _is_here(source: str) -> bool:
    try:
        return source == "digits" or Path(source).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
