"""Downloads from the Hub in our own cache: models of visitors, images of datasets, and bodies."""

import itertools
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from transfer.cache.paths import cache_errors, private_folder
from transfer.cache.store import LOCKS, CacheEntry, Store, folder_with_locks
from transfer.errors import CacheError
from transfer.hub import on_space

MODELS_SHARE, DATA_SETS_SHARE = 0.25, 0.5  # of the limit of the feature cache
MODELS, DATA_SETS, BODIES = "private/models", "taken", "bodies/hub"
RECORD, TENSORS, PART, LOCK = "taken.json", ".safetensors", ".part", ".lock"


@dataclass
class Download(CacheEntry):
    """All files of one download in a folder of its own, or a single file; `what` is for people."""

    what: str = ""

    @property
    def bytes(self) -> int:
        inside = (Path(top, name) for top, _, names in os.walk(self.path) for name in names)
        files = (path for path in (self.path, *inside) if path.is_file() and not path.is_symlink())
        return sum(_stat(path)[0] for path in files)

    @property
    def used(self) -> float:
        return _stat(self.path)[1]

    def touch(self) -> None:
        if self.path.exists():
            os.utime(self.path)

    def described(self) -> dict:
        return {"what": self.what, "bytes": self.bytes, "used": self.used}

    def discard(self) -> None:
        if self.path.is_file():
            self.path.unlink(missing_ok=True)
        super().discard()


@dataclass(frozen=True)
class Models(Store):
    """Models that visitors name, and private or gated ones. Holding a model's lock protects it."""

    def entries(self) -> list[CacheEntry]:
        names = (path.name.removeprefix("models--") for path in self.folder.glob("models--*"))
        return _oldest_first(self.of(name.replace("--", "/")) for name in names)

    def of(self, repository: str) -> Download:
        """The entry of this repository, whether it exists or not; laid out by the Hub's client."""
        path = self.folder / f"models--{repository.replace('/', '--')}"
        return Download(path=path, what=f"the model {repository}")

    def full(self, needed: int) -> CacheError:
        return CacheError(
            f"expected room for a model of {needed / 1e6:,.0f} MB, found {self.room / 1e6:,.0f} "
            "MB; free some disk, or set TRANSFER_CACHE_GB higher"
        )


@dataclass
class DataSet(Download):
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
    def written(self) -> float:
        """When it was downloaded, in seconds since the epoch."""
        return _stat(self.path / RECORD)[1]

    def record(self) -> dict:
        """Its record; empty where that is missing or damaged."""
        return _read_json(self.path / RECORD)

    def described(self) -> dict:
        record, what = self.record(), "images of a dataset, not all of them yet"
        if record and self.complete:
            number = sum(len(split["labels"]) for split in record["splits"].values())
            what = f"{number:,} images of {record['source']} at {record['revision'][:12]}"
        return super().described() | {"what": what}

    def in_use(self) -> FileLock | None:
        """A lock that protects it while it is referenced; None where the dataset is gone."""
        with cache_errors(), self.lock:
            if not self.path.exists():
                return None
            paths = (self.path / f"{number}{LOCK}" for number in itertools.count())
            return next(lock for path in paths if (lock := _acquired(path)))

    def remove(self) -> bool:
        """Whether it is gone; what is being read or downloaded stays."""
        with self.lock:
            if all(_acquired(path) for path in self.path.glob(f"*{LOCK}")):
                self.discard()
        return not self.path.exists()

    def discard(self) -> None:
        (self.path / RECORD).unlink(missing_ok=True)  # first: half of it is never found
        super().discard()


@dataclass(frozen=True)
class DataSets(Store):
    """Images of private datasets, of those that visitors name, and of limited downloads."""

    def entries(self) -> list[CacheEntry]:
        folders = (path for path in self.folder.iterdir() if path.is_dir() and path.name != LOCKS)
        return _oldest_first(DataSet(path=path) for path in folders)

    def of(self, name: str) -> DataSet:
        """The entry of this name, whether it exists or not."""
        return DataSet(path=self.folder / name)

    def full(self, needed: int) -> CacheError:
        advice = "free some disk, set TRANSFER_CACHE_GB higher, or pass a small --limit-per-class"
        return CacheError(
            "expected room for more images of a dataset, found none (all may take "
            f"{self.limit / 1e6:,.0f} MB, and those in use stay); "
            f"{'choose a smaller dataset' if on_space() else advice}"
        )


@dataclass(frozen=True)
class Bodies(Store):
    """Downloaded bodies. They are few, so they are not bounded, but they can be cleared."""

    def entries(self) -> list[CacheEntry]:
        records = [_read_json(path) for path in self.folder.glob("*.json")]
        what = {found.get("sha256"): f"the body of {found.get('repository')}" for found in records}
        paths = (path for path in self.folder.iterdir() if path.suffix in (TENSORS, PART))
        return _oldest_first(
            Download(path=path, what=what.get(path.stem, "a body, not all of it yet"))
            for path in paths
        )


def open_models() -> Models:
    """Readable by no other user of the machine. Raises CacheError."""
    private_folder("private")
    return Models(folder_with_locks(MODELS), share=MODELS_SHARE)


def open_data_sets() -> DataSets:
    """Readable by no other user of the machine. Raises CacheError."""
    return DataSets(folder_with_locks(DATA_SETS), share=DATA_SETS_SHARE)


def open_bodies() -> Bodies:
    """Raises CacheError."""
    return Bodies(folder_with_locks(BODIES))


def missing_bytes(folder: Path, files: dict[str, int]) -> int:
    """How many bytes of `files`, name → bytes, are not in `folder`."""
    return sum(size for name, size in files.items() if not (folder / name).exists())


def _oldest_first(entries) -> list[CacheEntry]:
    return sorted(entries, key=lambda entry: entry.used)


def _acquired(path: Path) -> FileLock | None:
    """The lock, held while it is referenced; None where another process holds it."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _read_json(path: Path) -> dict:
    """Empty where the file is missing or no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stat(path: Path) -> tuple[int, float]:
    """(bytes, seconds since the epoch of the last change); zeros where it was just removed."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0.0
    return found.st_size, found.st_mtime
