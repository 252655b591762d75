"""What was fetched from the Hub into our own cache: models that visitors asked for, and bodies."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from transfer.errors import CacheError
from transfer.store import LOCKS, Entry, Store, private_folder, told

SHARE_OF_LIMIT = 0.25  # of what features may take
MODELS, BODIES = "private/models", "bodies/hub"
TENSORS, PART = ".safetensors", ".part"


@dataclass
class Model(Entry):
    """All that is kept of one repository, laid out as the Hub's client does it."""

    @property
    def bytes(self) -> int:
        files = (Path(top, name) for top, _, names in os.walk(self.path) for name in names)
        return sum(_bytes(path) for path in files if not path.is_symlink())

    @property
    def used(self) -> float:
        return _changed(self.path)

    def described(self) -> dict:
        name = self.path.name.removeprefix("models--").replace("--", "/")
        return {"what": f"the model {name}", "bytes": self.bytes, "used": self.used}

    def touch(self) -> None:
        """It was used now."""
        if self.path.exists():
            os.utime(self.path)


@dataclass(frozen=True)
class Models(Store):
    """Those of visitors, and closed ones. Whoever holds a model's lock keeps it from going."""

    def entries(self) -> list[Entry]:
        found = [Model(path=path) for path in self.folder.glob("models--*")]
        return sorted(found, key=lambda model: model.used)

    @property
    def limit(self) -> int:
        return int(SHARE_OF_LIMIT * super().limit)

    def of(self, repository: str) -> Model:
        """Whether it is there or not."""
        return Model(path=self.folder / f"models--{repository.replace('/', '--')}")

    def _full(self, needed: int) -> CacheError:
        return CacheError(
            f"expected room for a model of {needed / 1e6:,.0f} MB, found {self._room() / 1e6:,.0f} "
            "MB; free some disk, or set TRANSFER_CACHE_GB higher"
        )


@dataclass
class FetchedBody(Entry):
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

    def entries(self) -> list[Entry]:
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
    folder = private_folder(MODELS)
    with told():
        (folder / LOCKS).mkdir(exist_ok=True)
    return Models(folder)


def open_bodies() -> Bodies:
    """Raises CacheError."""
    return Bodies(private_folder(BODIES))


def missing_bytes(folder: Path, files: dict[str, int]) -> int:
    """Of `files`, name → bytes, what does not lie in `folder`."""
    return sum(size for name, size in files.items() if not (folder / name).exists())


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
