"""The classes that visitors are teaching, which answer at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.cache.timed_cache import TimedCache
from transfer.data.local.custom import CustomImages
from transfer.errors import SourceError
from transfer.jobs import JobManager
from transfer.jobs.job import hashed
from transfer.machine.lazy_import import lazy_import
from transfer.ui.shared.session import require_visitor

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier
    from transfer.inference.live import LiveClassifier

LIVE = "own:classes"  # with a colon, as the examples have one: never the folder of a run
VISITORS_CACHED, SECONDS_CACHED = 50, 3_600.0  # then the features are computed again


def own_folder(jobs: JobManager, visitor: str) -> Path:
    """Named by a hash, because the visitor's id is a secret."""
    return jobs.expiry.own_images / hashed(require_visitor(visitor))


def own_photos(jobs: JobManager, visitor: str) -> CustomImages:
    """The classes that a visitor makes."""
    return CustomImages(own_folder(jobs, visitor) / "own-photos")


@contextmanager
def _as_they_are() -> Iterator[None]:
    """Raises SourceError where a photo is removed while it is looked at."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError("the photos have been changed meanwhile; try again") from None


class LiveRuns:
    """The classes that each visitor is teaching."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self._live = TimedCache(VISITORS_CACHED, SECONDS_CACHED)

    def answers(self, visitor: str) -> bool:
        """Whether two classes have photos."""
        return bool(visitor) and len(self.classes(visitor)) >= 2  # none while the page is built

    def classes(self, visitor: str) -> list[str]:
        """Those with photos."""
        by_class = own_photos(self.jobs, visitor).by_class()
        return [name for name, photos in by_class.items() if photos]

    def newest(self, visitor: str) -> Path | None:
        """The photo that came last. Raises SourceError."""
        classes = own_photos(self.jobs, visitor).by_class().values()
        photos = [path for photos in classes for path in photos]
        with _as_they_are():
            return max(photos, key=lambda path: path.stat().st_mtime_ns, default=None)

    def classifier(self, visitor: str, without: Sequence) -> "Classifier":
        """Learned from all of a visitor's photos but those. Raises TransferError."""
        with _as_they_are():
            return self._of(visitor).classifier(own_photos(self.jobs, visitor).by_class(), without)

    def prepare(self, visitor: str) -> Iterator[tuple[int, int]]:
        """Read what `classifier` needs; yields (done, all of the photos). Raises TransferError."""
        photos = own_photos(self.jobs, visitor).by_class()
        if not self._live.get(visitor):  # the model has to be loaded too
            yield 0, sum(map(len, photos.values()))
        with _as_they_are():
            yield from self._of(visitor).read(photos)

    def _of(self, visitor: str) -> "LiveClassifier":
        if found := self._live.get(visitor):
            return found
        lazy_import("torch")
        from transfer.inference.live import LiveClassifier

        return self._live.put(visitor, LiveClassifier())
