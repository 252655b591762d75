"""What was fetched from the Hub into our own cache: models of visitors, images, and bodies."""

import itertools
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from transfer.cache.paths import cache_errors, private_folder
from transfer.cache.store import LOCKS, CacheEntry, Store
from transfer.errors import CacheError
from transfer.hub import on_space

MODELS_SHARE, DATA_SETS_SHARE = 0.25, 0.5  # of what features may take
MODELS, DATA_SETS, BODIES = "private/models", "taken", "bodies/hub"
RECORD, TENSORS, PART, LOCK = "taken.json", ".safetensors", ".part", ".lock"


@dataclass
class Folder(CacheEntry):
    """All that is kept of one thing, in files that are nobody else's."""

    @property
    def bytes(self) -> int:
        files = (Path(top, name) for top, _, names in os.walk(self.path) for name in names)
        return sum(_bytes(path) for path in files if not path.is_symlink())

    @property
    def used(self) -> float:
        return _changed(self.path)

    def touch(self) -> None:
        """It was used now."""
        if self.path.exists():
            os.utime(self.path)


@dataclass
class Model(Folder):
    """A repository, laid out as the Hub's client does it."""

    def described(self) -> dict:
        name = self.path.name.removeprefix("models--").replace("--", "/")
        return {"what": f"the model {name}", "bytes": self.bytes, "used": self.used}


@dataclass(frozen=True)
class Models(Store):
    """Those of visitors, and closed ones. Whoever holds a model's lock keeps it from going."""

    def entries(self) -> list[CacheEntry]:
        found = [Model(path=path) for path in self.folder.glob("models--*")]
        return sorted(found, key=lambda model: model.used)

    @property
    def limit(self) -> int:
        return int(MODELS_SHARE * super().limit)

    def of(self, repository: str) -> Model:
        """Whether it is there or not."""
        return Model(path=self.folder / f"models--{repository.replace('/', '--')}")

    def _full(self, needed: int) -> CacheError:
        return CacheError(
            f"expected room for a model of {needed / 1e6:,.0f} MB, found {self._room() / 1e6:,.0f} "
            "MB; free some disk, or set TRANSFER_CACHE_GB higher"
        )


@dataclass
class DataSet(Folder):
    """Images that were taken of one data set, and a record of them; several may read them at once.

    Each reader holds a lock of its own in the folder, and so does whoever takes the images.
    """

    @cached_property
    def lock(self) -> FileLock:
        """Held for a moment, while a reader comes or while it is seen whether there is one."""
        return FileLock(self.path.parent / LOCKS / f"readers{LOCK}")

    @property
    def whole(self) -> bool:
        """Whether nobody takes it any more."""
        return self.path.suffix != PART

    @property
    def written(self) -> float:
        """When it was taken, in seconds since the epoch."""
        return _changed(self.path / RECORD)

    def known(self) -> dict:
        """What stands in its record; nothing where that is missing or was cut off."""
        try:
            return json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def described(self) -> dict:
        known, what = self.known(), "images of a data set, not all of them yet"
        if known and self.whole:
            number = sum(len(split["labels"]) for split in known["splits"].values())
            what = f"{number:,} images of {known['source']} at {known['revision'][:12]}"
        return {"what": what, "bytes": self.bytes, "used": self.used}

    def in_use(self) -> FileLock | None:
        """It is not removed as long as what this returns is referenced; None where it is gone."""
        with cache_errors(), self.lock:
            if not self.path.exists():
                return None
            paths = (self.path / f"{number}{LOCK}" for number in itertools.count())
            return next(held for path in paths if (held := _held(path)))

    def remove(self) -> bool:
        """Whether it is gone; what somebody reads or takes stays."""
        with self.lock:
            if all(_held(path) for path in self.path.glob(f"*{LOCK}")):
                self._discard()
        return not self.path.exists()

    def _discard(self) -> None:
        (self.path / RECORD).unlink(missing_ok=True)  # whoever is killed here leaves none to find
        super()._discard()


@dataclass(frozen=True)
class DataSets(Store):
    """All images of closed ones and of what strangers name, of others those that were taken under a
    limit a class."""

    def entries(self) -> list[CacheEntry]:
        folders = (path for path in self.folder.iterdir() if path.is_dir() and path.name != LOCKS)
        found = [DataSet(path=path) for path in folders]
        return sorted(found, key=lambda data_set: data_set.used)

    @property
    def limit(self) -> int:
        return int(DATA_SETS_SHARE * super().limit)

    def of(self, name: str) -> DataSet:
        """Whether it is there or not."""
        return DataSet(path=self.folder / name)

    def _full(self, needed: int) -> CacheError:
        mend = "free some disk, set TRANSFER_CACHE_GB higher, or pass a small --limit-per-class"
        advice = "choose a smaller data set" if on_space() else mend
        return CacheError(
            "expected room for more images of a data set, found none (all may take "
            f"{self.limit / 1e6:,.0f} MB, and what is in use stays); {advice}"
        )


@dataclass
class FetchedBody(CacheEntry):
    """A file of tensors, or what has come of one; its record says whose they are."""

    whose: str = ""

    @property
    def bytes(self) -> int:
        return _bytes(self.path)

    @property
    def used(self) -> float:
        return _changed(self.path)

    @cached_property
    def lock(self) -> FileLock:
        """Held by whoever fetches it."""
        return FileLock(self.path.with_suffix(".lock"))

    def described(self) -> dict:
        what = f"the body of {self.whose}" if self.whose else "a body, not all of it yet"
        return {"what": what, "bytes": self.bytes, "used": self.used}

    def remove(self) -> bool:
        """Whether it is gone; what is being fetched stays. Whoever reads it reads on."""
        if self.path.suffix == PART:
            return super().remove()
        self.path.unlink(missing_ok=True)
        return True

    def _discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_name(f"{self.path.name}.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class Bodies(Store):
    """Those of the few that trainings can ask for; they are not bounded, but can be cleared."""

    def entries(self) -> list[CacheEntry]:
        whose = {known.get("sha256"): known.get("repository", "") for known in self._records()}
        found = [
            FetchedBody(path=path, whose=whose.get(path.stem, ""))
            for path in self.folder.iterdir()
            if path.suffix in (TENSORS, PART) and "." not in path.stem  # else a record's part
        ]
        return sorted(found, key=lambda body: body.used)

    def _records(self) -> list[dict]:
        found = []
        for path in self.folder.glob("*.json"):
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(known, dict):
                found.append(known)
        return found


def open_models() -> Models:
    """Readable by no other user of the machine. Raises CacheError."""
    private_folder("private")
    return Models(_with_locks(MODELS))


def open_data_sets() -> DataSets:
    """Readable by no other user of the machine. Raises CacheError."""
    return DataSets(_with_locks(DATA_SETS))


def open_bodies() -> Bodies:
    """Raises CacheError."""
    return Bodies(private_folder(BODIES))


def missing_bytes(folder: Path, files: dict[str, int]) -> int:
    """Of `files`, name → bytes, what does not lie in `folder`."""
    return sum(size for name, size in files.items() if not (folder / name).exists())


def _with_locks(name: str) -> Path:
    folder = private_folder(name)
    with cache_errors():
        (folder / LOCKS).mkdir(mode=0o700, exist_ok=True)
    return folder


def _held(path: Path) -> FileLock | None:
    """The lock, held until nothing refers to it, or None where another holds it."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed by another just now
        return 0


def _changed(path: Path) -> float:
    """In seconds since the epoch."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
