"""What a visitor may use to classify: own finished runs, the example, and models on the Hub."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.jobs import JobManager
from transfer.runs.run import RECORD, Run, read_run
from transfer.ui.shared.hub_models import HubModels
from transfer.ui.shared.lazy_import import lazy_import

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier
    from transfer.inference.phase_comparison import Comparison

EXAMPLE = "example:digits"
EXAMPLE_FOLDER = Path(__file__).parents[1] / "examples" / "digits"
_one_at_a_time = threading.Lock()


class LoadedRuns:
    """`shared` is a server with strangers on it: a run is its owner's alone."""

    def __init__(self, jobs: JobManager, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self._of_the_hub = HubModels(False if shared else None)

    def choices(self, visitor: str) -> list[tuple[str, str]]:
        """(what people read, name) of own runs, newest first, and of the example."""
        own = self.jobs.runs_of(visitor)
        named = [(f"{run.name}, {run.accuracy:.1%} right", run.id) for run in own]
        return [*named, ("Example: handwritten digits", EXAMPLE)]

    def own_path(self, visitor: str, name: str) -> Path:
        """The folder of the example or of one of the visitor's runs, by name. Raises JobError.

        Only names that were given out are looked up, so that none is a way to another folder.
        """
        if name == EXAMPLE:
            return EXAMPLE_FOLDER
        return self.jobs.run_of(visitor, name).path

    def classifier(self, visitor: str, name: str) -> "Classifier":
        """By the name of a run, or by a Hub id or link. Raises TransferError.

        On a shared server the Hub is asked as nobody, not as whoever runs the server.
        """
        if not is_address(name):
            return cached_classifier(self.own_path(visitor, name))
        return self._of_the_hub.classifier(name.strip())

    def comparison(self, visitor: str, name: str) -> "Comparison":
        """The stages of a run's training. Raises TransferError."""
        from transfer.inference.phase_comparison import load_stages

        if is_address(name):
            return load_stages(self.classifier(visitor, name))
        path = self.own_path(visitor, name)
        with _one_at_a_time:
            return _stages(path, _changed(path))


def cached_classifier(path: Path) -> "Classifier":
    """Of a run's folder, kept in memory until others have taken its place."""
    with _one_at_a_time:  # whoever asks while it is being opened waits, rather than opens it too
        return _classifier(path, _changed(path))


def cached_run(path: Path) -> Run:
    """A run's record and report, read again once the run is another."""
    return _run(path, _changed(path))


def is_address(name: str) -> bool:
    """Names of runs have no slash; what has one is asked of the Hub, never of this disk."""
    return isinstance(name, str) and "/" in name


def _changed(path: Path) -> int:
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
