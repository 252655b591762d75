"""The classes that visitors are teaching, which answer at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.data.local.custom import CustomImages
from transfer.ui.shared.lazy_import import lazy_import
from transfer.ui.shared.timed_cache import TimedCache

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier
    from transfer.inference.live import LiveClassifier

LIVE = "live"  # no folder of a run is called that: `listed` ones have a time in their name
VISITORS_CACHED, SECONDS_CACHED = 50, 3_600.0  # then the features are computed anew


class LiveRuns:
    """`images` maps a visitor to their classes."""

    def __init__(self, images: Callable[[str], CustomImages]):
        self._images = images
        self._live = TimedCache(VISITORS_CACHED, SECONDS_CACHED)

    def answers(self, visitor: str) -> bool:
        """Whether two classes have photos."""
        return bool(visitor) and sum(map(bool, self._images(visitor).counts().values())) >= 2

    def newest(self, visitor: str) -> Path | None:
        """The photo that came last."""
        photos = [path for of_class in self._images(visitor).photos().values() for path in of_class]
        return max(photos, key=lambda path: path.stat().st_mtime_ns, default=None)

    def classifier(self, visitor: str, without: Sequence) -> "Classifier":
        """Learned from all of a visitor's photos but those. Raises TransferError."""
        return self._of(visitor).classifier(self._images(visitor).photos(), without)

    def _of(self, visitor: str) -> "LiveClassifier":
        if found := self._live.get(visitor):
            return found
        lazy_import("torch")
        from transfer.inference.live import LiveClassifier

        return self._live.put(visitor, LiveClassifier())
