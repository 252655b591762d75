"""Downloads from the Hub in our own cache: models of visitors, images of datasets, and bodies."""

import itertools
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from transfer.cache.paths import cache_errors, file_stat, read_json
from transfer.cache.store import LOCKS, CacheEntry, Store, folder_with_locks
from transfer.machine.environment import is_shared

MODELS_SHARE, DATASETS_SHARE = 0.25, 0.5  # of the limit of the feature cache
BODIES = "bodies/hub"
TENSORS, PART, LOCK = ".safetensors", ".part", ".lock"


@dataclass
class Download(CacheEntry):
    """All files of one download in a folder of its own, or a single file; `what` is for people."""

    what: str = ""

    @property
    def bytes(self) -> int:
        inside = (Path(top, name) for top, _, names in os.walk(self.path) for name in names)
        files = (path for path in (self.path, *inside) if path.is_file() and not path.is_symlink())
        return sum(file_stat(path)[0] for path in files)

    @property
    def used(self) -> float:
        return file_stat(self.path)[1]

    @property
    def description(self) -> str:
        return self.what

    def touch(self) -> None:
        if self.path.exists():
            os.utime(self.path)

    def discard(self) -> None:
        super().discard()
        if self.path.is_file():
            self.path.unlink(missing_ok=True)


class DatasetDownload(Download):
    """Images of one dataset and a record of them.

    Several processes may read them at once: each holds a numbered lock of its own in the folder,
    and so does the one that downloads.
    """

    @cached_property
    def lock(self) -> FileLock:
        """Held for a moment, while a reader arrives or readers are looked for."""
        return FileLock(self.path.parent / LOCKS / f"readers{LOCK}")

    @property
    def complete(self) -> bool:
        """Whether its download has ended."""
        return self.path.suffix != PART

    @property
    def description(self) -> str:
        record = self.record()
        if not record or not self.complete:
            return "images of a dataset, not all of them yet"
        number = sum(len(split["labels"]) for split in record["splits"].values())
        return f"{number:,} images of {record['source']} at {record['revision'][:12]}"

    def in_use(self) -> FileLock | None:
        """A lock that protects it while it is referenced; None where the dataset is gone."""
        with cache_errors(), self.lock:
            if not self.path.exists():
                return None
            paths = (self.path / f"{number}{LOCK}" for number in itertools.count())
            return next(lock for path in paths if (lock := _acquired(path)))

    @property
    def locked(self) -> bool:
        """Whether it is being read or downloaded."""
        with self.lock:
            return not all(_acquired(path) for path in self.path.glob(f"*{LOCK}"))

    def remove(self) -> bool:
        """Whether it is gone; what is being read or downloaded stays."""
        with self.lock:
            if not self.locked:
                self.discard()
        return not self.path.exists()


class Models(Store):
    """Models that visitors name, and private or gated ones. Holding a model's lock protects it."""

    content = "a model"
    advice = "free some disk, or set TRANSFER_CACHE_GB higher"

    def found(self) -> list[CacheEntry]:
        names = (path.name.removeprefix("models--") for path in self.folder.glob("models--*"))
        return [self.of(name.replace("--", "/")) for name in names]

    def of(self, repository: str) -> Download:
        """The entry of this repository, whether it exists or not; laid out by the Hub's client."""
        path = self.folder / f"models--{repository.replace('/', '--')}"
        return Download(path=path, what=f"the model {repository}")


class Datasets(Store):
    """Images of private datasets, of those that visitors name, and of limited downloads."""

    content = "images of a dataset"

    def found(self) -> list[CacheEntry]:
        folders = (path for path in self.folder.iterdir() if path.is_dir() and path.name != LOCKS)
        return [self.of(folder.name) for folder in folders]

    def of(self, name: str) -> DatasetDownload:
        """The entry of this name, whether it exists or not."""
        return DatasetDownload(path=self.folder / name)

    @property
    def advice(self) -> str:
        if is_shared():
            return "choose a smaller dataset"
        return "free some disk, set TRANSFER_CACHE_GB higher, or pass a small --limit-per-class"


class Bodies(Store):
    """Downloaded bodies. They are few, so they are not bounded, but they can be cleared."""

    def found(self) -> list[CacheEntry]:
        records = [read_json(path) for path in self.folder.glob("*.json")]
        what = {found.get("sha256"): f"the body of {found.get('repository')}" for found in records}
        paths = (path for path in self.folder.iterdir() if path.suffix in (TENSORS, PART))
        unfinished = "a body, not all of it yet"
        return [Download(path=path, what=what.get(path.stem, unfinished)) for path in paths]


def open_models() -> Models:
    return Models(folder_with_locks("private/models"), share=MODELS_SHARE)


def open_datasets() -> Datasets:
    return Datasets(folder_with_locks("datasets"), share=DATASETS_SHARE)


def open_bodies() -> Bodies:
    return Bodies(folder_with_locks(BODIES))


def _acquired(path: Path) -> FileLock | None:
    """The lock, held while it is referenced; None where another process holds it."""
    lock = FileLock(path, thread_local=False)
    with suppress(Timeout):
        lock.acquire(timeout=0)
    return lock if lock.is_locked else None
