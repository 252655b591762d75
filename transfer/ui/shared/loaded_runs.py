"""What a visitor may classify with: finished runs, the example, and models on the Hub."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from transfer.cache.timed_cache import TimedCache
from transfer.errors import TransferError
from transfer.formatting import accuracy_text
from transfer.jobs import JobManager, ListedRun
from transfer.jobs.run_photos import Example, examples, photos, source_of
from transfer.machine.lazy_import import DIGITS_NEED, lazy_import
from transfer.runs.run import RECORD, Run, read_run
from transfer.ui.shared.live_runs import LIVE, LiveRuns, own_photos

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier
    from transfer.inference.phase_comparison import Comparison

EXAMPLE, DIGITS = "example:flowers", "example:digits"
LIVE_TITLE = "Your classes, as you teach them"
EXAMPLES = {EXAMPLE: "twelve kinds of flowers", DIGITS: "handwritten digits"}
# CC BY 2.0, in scikit-learn: neither was among the photos of the example on flowers
OTHER_PHOTOS = {"a flower": "flower.jpg", "a temple": "china.jpg"}
EXAMPLES_FOLDER = Path(__file__).parents[1] / "examples"
MODELS_CACHED, SECONDS_A_MODEL_IS_CACHED = 2, 600.0  # then the Hub may have a newer one
ERRORS_CACHED, SECONDS_AN_ERROR_IS_CACHED = 16, 10.0  # one choice on the page asks several times
Seen = tuple[ListedRun, Run, str | None]  # and where its photos are, if the visitor may see them
_lock = threading.Lock()


class LoadedRuns:
    """`shared` is a server with strangers on it, where a run is its owner's alone."""

    def __init__(self, jobs: JobManager, *, shared: bool):
        self.jobs = jobs
        self.live = LiveRuns(jobs)
        self.shared = shared
        # on a shared server the Hub is asked without the token of the server's owner
        self._hub = HubModels(False if shared else None)

    def choices(self, visitor: str) -> list[tuple[str, str]]:
        """(title, name) of own runs, newest first, and of the examples."""
        examples = [(f"Example: {what}", name) for name, what in EXAMPLES.items()]
        live = [(LIVE_TITLE, LIVE)] if self.live.answers(visitor) else []
        return [*with_accuracy(self.jobs.finished.of(visitor)), *live, *examples]

    def own_path(self, visitor: str, name: str) -> Path:
        """The folder of an example, or of a run among the visitor's own. Raises JobError."""
        if name in list(EXAMPLES):  # compared, for a caller's name may be anything
            return EXAMPLES_FOLDER / name.removeprefix("example:")
        return self.jobs.finished.get(name, visitor).path

    def classifier(self, visitor: str, name: str, asked: Sequence = ()) -> "Classifier":
        """By the name of a run, or by a Hub id or link. Photos that are asked about are no photos
        that the classes being taught are learned from. Raises TransferError."""
        if name == LIVE:
            return self.live.classifier(visitor, asked)
        if not is_address(name):
            return cached_classifier(self.own_path(visitor, name))
        return self._hub.classifier(name.strip())

    def prepare(self, visitor: str, name: str) -> Iterator[tuple[int, int]]:
        """What is needed before `classifier`, where that may take long; yields (photos done, all of
        them). Raises TransferError."""
        if name == LIVE:
            yield from self.live.prepare(visitor)

    def photos(self, visitor: str, name: str, names: list[str]) -> list[tuple[Image.Image, str]]:
        """(picture, its class) of training photos of a run, if the visitor may see them. Raises
        TransferError."""
        run, source = self._source(visitor, name)
        return photos(run, source, "train", names) if source else []

    def examples(self, visitor: str, name: str, most: int) -> list[Example]:
        """Pictures to try a run on, if there are any here. Raises TransferError."""
        if name == EXAMPLE:
            lazy_import(DIGITS_NEED)
            from sklearn import datasets

            folder = Path(datasets.__file__).parent / "images"
            return [(what, folder / file) for what, file in OTHER_PHOTOS.items()]
        run, source = self._source(visitor, name)
        return examples(run, source, most) if source else []

    def _source(self, visitor: str, name: str) -> tuple[Run | None, str | None]:
        """A run, and where its photos are, if the visitor may see them. Raises JobError."""
        if is_address(name) or name in (EXAMPLE, LIVE):
            return None, None
        if name in EXAMPLES:
            return cached_run(self.own_path(visitor, name)), "digits"
        return run_with_source(self.jobs, visitor, name)[1:]

    def taught_classes(self, visitor: str, name: str) -> list[str]:
        """The visitor's own classes, if the run learns or has learned from them."""
        own, source = own_photos(self.jobs, visitor), None
        with suppress(TransferError):
            _, source = self._source(visitor, name)
        return [*own.counts()] if name == LIVE or source == str(own.folder) else []

    def comparison(self, visitor: str, name: str) -> "Comparison":
        """The heads after each phase of a run's training. Raises TransferError."""
        from transfer.inference.phase_comparison import load_stages

        if is_address(name):
            return load_stages(self.classifier(visitor, name))
        path = self.own_path(visitor, name)
        with _lock:
            return _stages(path, _changed(path))


class HubModels:
    """Models by Hub id, opened one at a time as they may be large; an open one waits for none."""

    def __init__(self, token: bool | None):
        self._token = token
        self._opening = threading.Lock()
        self._models = TimedCache(MODELS_CACHED, SECONDS_A_MODEL_IS_CACHED)
        self._errors = TimedCache(ERRORS_CACHED, SECONDS_AN_ERROR_IS_CACHED)

    def classifier(self, name: str) -> "Classifier":
        if found := self._models.get(name):
            return found
        with self._opening:
            if found := self._models.get(name):
                return found
            if error := self._errors.get(name):
                raise type(error)(str(error))
            lazy_import("torch")
            from transfer.inference.loading import open_classifier

            try:
                return self._models.put(name, open_classifier(f"hub:{name}", self._token))
            except TransferError as error:
                self._errors.put(name, type(error)(str(error)))  # a copy, without its traceback
                raise


def with_accuracy(runs: list[ListedRun]) -> list[tuple[str, str]]:
    """(title, id) of each run."""
    return [
        (f"{run.name}, test accuracy {accuracy_text(run.accuracy, run.images)}", run.id)
        for run in runs
    ]


def cached_classifier(path: Path) -> "Classifier":
    """The classifier of a run's folder; the last few stay in memory."""
    with _lock:  # a second caller waits while it is being opened
        return _classifier(path, _changed(path))


def cached_run(path: Path) -> Run:
    """A run's record and report, read again when the run has changed."""
    return _run(path, _changed(path))


def run_with_source(jobs: JobManager, visitor: str, run_id: str | None) -> Seen:
    """A run of a visitor's. Raises JobError or RunError."""
    listed = jobs.finished.get(run_id, visitor)
    run = cached_run(listed.path)
    return listed, run, source_of(jobs, visitor, listed, run)


def is_address(name: str) -> bool:
    """Names of runs have no slash. A name with one is looked up on the Hub, never on this disk."""
    return isinstance(name, str) and "/" in name


def _changed(path: Path) -> int:
    """When a run was last changed, as part of the cache's key."""
    try:
        return (path / RECORD).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _classifier(path: Path, changed: int) -> "Classifier":
    lazy_import("torch")
    from transfer.inference.loading import open_classifier

    return open_classifier(path)


@lru_cache(maxsize=2)
def _stages(path: Path, changed: int) -> "Comparison":
    from transfer.inference.phase_comparison import load_stages

    return load_stages(_classifier(path, changed))


@lru_cache(maxsize=64)
def _run(path: Path, changed: int) -> Run:
    return read_run(path)
