"""Arrays on disk that trainings share: found by key, written in pieces, bounded in bytes.

An entry is a folder named by its key's sha256, with `data.bin`, `done.jsonl` (which rows stand in
it) and, once every row does, `whole.json`. Whoever is killed leaves its rows to the next.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from transfer.cache.paths import cache_errors, private_folder
from transfer.errors import CacheError

DATA, DONE, WHOLE, LOCKS = "data.bin", "done.jsonl", "whole.json", "locks"
LIMIT_BYTES = 20e9
LARGEST_SHARE_OF_FREE_DISK = 0.5
SECONDS_BETWEEN_FLUSHES = 1.0


def open_store() -> "Store":
    """The user's own store, readable by nobody else. Raises CacheError."""
    folder = private_folder("features")
    with cache_errors():
        (folder / LOCKS).mkdir(exist_ok=True)
    return Store(folder)


@dataclass(frozen=True)
class Store:
    """All entries. Those least recently used go first when there is no room."""

    folder: Path

    def entry(self, key: dict, shape: tuple[int, ...], dtype: str) -> "CacheEntry":
        """The entry of this key (JSON), whether it is there or not."""
        text = json.dumps(key, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return CacheEntry(path=self.folder / name, key=json.loads(text), shape=shape, dtype=dtype)

    def entries(self) -> list["CacheEntry"]:
        """Those on disk, least recently used first."""
        found = [CacheEntry(path=path) for path in self.folder.iterdir() if (path / DATA).exists()]
        return sorted(found, key=lambda entry: entry.used)

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.entries())

    @property
    def limit(self) -> int:
        """Bytes: `TRANSFER_CACHE_GB`, else 20 GB or half of what the disk could give, if less."""
        if text := os.environ.get("TRANSFER_CACHE_GB"):
            try:
                return int(_positive(float(text) * 10**9))
            except ValueError:
                raise CacheError(
                    f"expected TRANSFER_CACHE_GB to be a number above 0, found {text[:20]!r}"
                ) from None
        could = shutil.disk_usage(self.folder).free + self.bytes
        return int(min(LIMIT_BYTES, LARGEST_SHARE_OF_FREE_DISK * could))

    def make_room(self, needed: int, keep: tuple["CacheEntry", ...] = ()) -> None:
        """Remove what was used least recently until `needed` bytes fit. Raises CacheError."""
        with FileLock(self.folder / LOCKS / "room.lock"):
            kept = {entry.path for entry in keep}
            old = [entry for entry in self.entries() if entry.path not in kept]
            spare, free = sum(entry.bytes for entry in old), shutil.disk_usage(self.folder).free
            could = min(self.limit - self.bytes, free) + spare
            while could >= needed and not self._fits(needed) and old:
                old.pop(0).remove()
            if not self._fits(needed):
                raise self._full(needed)

    def _full(self, needed: int) -> CacheError:
        return CacheError(
            f"expected room for {needed / 1e9:.1f} GB of pixels and features, found "
            f"{self._room() / 1e9:.1f} GB; free some disk, set TRANSFER_CACHE_GB higher, "
            "or pass --limit-per-class or a smaller --image-size"
        )

    def _fits(self, needed: int) -> bool:
        return needed <= self._room()

    def _room(self) -> int:
        return max(0, min(self.limit - self.bytes, shutil.disk_usage(self.folder).free))

    def clear(self) -> tuple[int, int]:
        """Remove all but what is being filled now; (bytes removed, entries left)."""
        before, entries = self.bytes, self.entries()
        left = [entry for entry in entries if not entry.remove()]
        return before - self.bytes, len(left)


def _positive(number: float) -> float:
    if not 0 < number < math.inf:
        raise ValueError(number)
    return number


@dataclass
class CacheEntry:
    """One array (V, N, …) on disk: V views of N rows. Rows are written once, in any order.

    `dtype` is torch's name of it, for numpy has no bfloat16.
    """

    path: Path
    key: dict = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"
    _unsaved: list[dict] = field(default_factory=list)
    _flushed: float = 0.0

    @cached_property
    def lock(self) -> FileLock:
        """Held by whoever fills or removes the entry; a killed process lets go of it."""
        folder = self.path.parent / LOCKS
        return FileLock(folder / f"{self.path.name}.lock")

    @property
    def whole(self) -> bool:
        """Whether every row is there."""
        known = self.known()
        same = known.get("key") == self.key and known.get("shape") == list(self.shape)
        return same and known["dtype"] == self.dtype and self.bytes == self.full_bytes

    def known(self) -> dict:
        """What stands in whole.json; nothing while rows are missing."""
        try:
            return json.loads((self.path / WHOLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    @property
    def bytes(self) -> int:
        try:
            return (self.path / DATA).stat().st_size
        except OSError:
            return 0

    @property
    def used(self) -> float:
        """When it was last read or written, in seconds since the epoch."""
        files = (self.path / name for name in (WHOLE, DONE, DATA))
        return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)

    def described(self) -> dict:
        """For people: {"what", "bytes", "used"}."""
        known = self.known()
        key = known.get("key")
        what = "unfinished; the next training of the same goes on from here"
        if key:
            level = f"what enters {key['cut']}" if key.get("cut", "none") != "none" else "features"
            level = level if "cut" in key else "pixels"
            size = key["transform"]["image_size"]
            what = (
                f"{level} of {key['source']}, {key['split']}: {known['shape'][1]} images, "
                f"{known['shape'][0]} views, {size} px, {known['dtype']}"
            )
        return {"what": what, "bytes": self.bytes, "used": self.used}

    def touch(self) -> None:
        (self.path / WHOLE).touch()

    def bad_rows(self) -> dict[int, str]:
        """Row → why it could not be read, of those that stand on disk."""
        bad = self.known().get("bad")
        return self.done()[1] if bad is None else {int(row): why for row, why in bad.items()}

    @property
    def full_bytes(self) -> int:
        return math.prod(self.shape) * itemsize(self.dtype)

    def start(self) -> None:
        """Make the file, or keep the rows that somebody left who was killed."""
        if self.bytes != self.full_bytes:
            shutil.rmtree(self.path, ignore_errors=True)
            with cache_errors():
                self.path.mkdir(exist_ok=True)
                with (self.path / DATA).open("wb") as file:
                    file.truncate(self.full_bytes)

    def done(self) -> tuple[np.ndarray, dict[int, str]]:
        """(bool (N,): which rows stand on disk, row → why it could not be read)."""
        done, bad = np.zeros(self.shape[1], dtype=bool), {}
        if self.bytes != self.full_bytes or not (self.path / DONE).exists():
            return done, bad
        lines = (self.path / DONE).read_text(encoding="utf-8").splitlines()
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # empty, or cut off while it was written
                continue
            done[record["rows"]] = True
            bad |= {int(row): why for row, why in record["bad"].items()}
        return done, bad

    def write(self, rows: list[int], values: np.ndarray, bad: dict[int, str]) -> None:
        """`values` (V, len(rows), …) in the entry's dtype. Raises CacheError on a full disk."""
        row_bytes = math.prod(self.shape[2:]) * itemsize(self.dtype)
        with cache_errors(), (self.path / DATA).open("r+b") as file:
            for view, block in enumerate(values):
                for start, stop in _runs(rows):
                    file.seek((view * self.shape[1] + rows[start]) * row_bytes)
                    file.write(np.ascontiguousarray(block[start:stop]))
        self._unsaved.append({"rows": rows, "bad": bad})
        if time.monotonic() - self._flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        """A row counts as done only once its bytes are on the disk. Raises CacheError."""
        with cache_errors(), (self.path / DATA).open("r+b") as file:
            os.fsync(file.fileno())
        # each line begins with its newline, for the one before may have been cut off
        lines = "".join("\n" + json.dumps(record) for record in self._unsaved)
        with cache_errors(), (self.path / DONE).open("a", encoding="utf-8") as log:
            log.write(lines)
        self._unsaved, self._flushed = [], time.monotonic()

    def finish(self) -> None:
        """From now on the entry can be found, if every row has been written."""
        done, bad = self.done()
        if not done.all():
            return
        known = {"key": self.key, "shape": self.shape, "dtype": self.dtype, "bad": bad}
        part = self.path / f"{WHOLE}.part"
        with cache_errors():
            part.write_text(json.dumps(known), encoding="utf-8")
            part.replace(self.path / WHOLE)

    def forget(self, rows: list[int]) -> None:
        """Have these rows written once more; until then the entry is not whole."""
        done, bad = self.done()
        done[rows] = False
        left = {row: why for row, why in bad.items() if done[row]}
        part = self.path / f"{DONE}.part"
        with cache_errors():
            part.write_text(json.dumps({"rows": np.flatnonzero(done).tolist(), "bad": left}))
            part.replace(self.path / DONE)
            (self.path / WHOLE).unlink(missing_ok=True)

    def remove(self) -> bool:
        """Whether it is gone; an entry that somebody fills stays."""
        try:
            with self.lock.acquire(timeout=0):
                self._discard()
                return not self.path.exists()
        except Timeout:
            return False

    def _discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def itemsize(dtype: str) -> int:
    """Bytes a value."""
    return {"uint8": 1, "bfloat16": 2, "float16": 2, "float32": 4}[dtype]


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """(start, stop) of the stretches of `rows` that follow each other."""
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or rows[stop] != rows[stop - 1] + 1:
            yield start, stop
            start = stop
