"""Cached arrays on disk: found by key, bounded in bytes.

An entry is a folder named by the sha256 of its key. `data.bin` holds the numbers. `entry.json`
(key, shape, dtype, unreadable rows, how many rows are there) is written when an entry is finished
or interrupted; an entry without it is filled again.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from transfer.cache.paths import cache_errors, file_stat, private_folder, read_json
from transfer.errors import CacheError
from transfer.formatting import byte_size
from transfer.machine.environment import positive_number

DATA, UNREADABLE, RECORD, LOCKS = "data.bin", "unreadable.jsonl", "entry.json", "locks"
LIMIT_BYTES = 20e9
LARGEST_SHARE_OF_FREE_DISK = 0.5
ITEM_BYTES = {"uint8": 1, "bfloat16": 2, "float16": 2, "float32": 4}
SPEED_TEST_BYTES = 32_000_000


def open_store() -> "Store":
    return Store(folder_with_locks("features"))


def folder_with_locks(name: str) -> Path:
    """A store's folder, readable by no other user of the machine. Raises CacheError."""
    return private_folder(f"{name}/{LOCKS}").parent


@dataclass(frozen=True)
class Store:
    """All entries of one kind, which take at most `share` of the cache's limit.

    The least recently used are removed when there is no room.
    """

    folder: Path
    share: float = 1.0
    content = "pixels and features"
    advice = (
        "free some disk, set TRANSFER_CACHE_GB higher, or pass --limit-per-class or a smaller "
        "--image-size"
    )

    def entry(self, key: dict, shape: tuple[int, ...], dtype: str) -> "CacheEntry":
        """The entry of this key (JSON), whether it exists or not."""
        text = json.dumps(key, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return CacheEntry(path=self.folder / name, key=json.loads(text), shape=shape, dtype=dtype)

    def entries(self) -> list["CacheEntry"]:
        """Those on disk, least recently used first."""
        return sorted(self.found(), key=lambda entry: entry.used)

    def found(self) -> list["CacheEntry"]:
        return [CacheEntry(path=path) for path in self.folder.iterdir() if (path / DATA).exists()]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.entries())

    @property
    def limit(self) -> int:
        """Bytes: `TRANSFER_CACHE_GB`, else 20 GB or half of what the disk could give, if less."""
        if gigabytes := positive_number("TRANSFER_CACHE_GB"):
            return int(self.share * gigabytes * 10**9)
        available = shutil.disk_usage(self.folder).free + self.bytes
        return int(self.share * min(LIMIT_BYTES, LARGEST_SHARE_OF_FREE_DISK * available))

    @property
    def room(self) -> int:
        """Bytes that can be written without removing anything; negative above the limit."""
        return min(self.limit - self.bytes, shutil.disk_usage(self.folder).free)

    def room_for(self, entries: Iterable["CacheEntry"] = ()) -> int:
        """Bytes that these may take in all: where they are, what is free, and what may be removed.

        What is in use stays.
        """
        own = {entry.path: entry.bytes for entry in entries}
        others = (entry for entry in self.found() if entry.path not in own and not entry.locked)
        return self.room + sum(own.values()) + sum(entry.bytes for entry in others)

    def make_room(self, needed: int, keep: tuple["CacheEntry", ...] = ()) -> None:
        """Remove the least recently used entries until `needed` bytes fit. Raises CacheError."""
        with cache_errors(), FileLock(self.folder / LOCKS / "room.lock"):
            room = self.room_for(keep) - sum(entry.bytes for entry in keep)
            if room < needed:
                raise self.refusal(needed, room)
            paths = {entry.path for entry in keep}
            old = [entry for entry in self.entries() if entry.path not in paths]
            while self.room < needed and old:
                old.pop(0).remove()
            if self.room < needed:  # one was used in this moment
                raise self.refusal(needed, self.room)

    def refusal(self, needed: int, room: int) -> CacheError:
        return CacheError(
            f"expected room for {byte_size(needed)} of {self.content}, found "
            f"{byte_size(max(0, room))} (all may take {byte_size(self.limit)}, and what is in use "
            f"stays); {self.advice}"
        )

    def clear(self) -> tuple[int, int]:
        """Remove everything not in use; (bytes removed, entries left)."""
        before, entries = self.bytes, self.entries()
        left = [entry for entry in entries if not entry.remove()]
        return before - self.bytes, len(left)

    def bytes_a_second(self) -> float:
        """Measured write speed of the disk, as a lower bound of its read speed."""
        trial, started = self.folder / f"trial-{os.getpid()}", time.monotonic()
        try:
            with cache_errors(), trial.open("wb") as file:
                file.write(os.urandom(SPEED_TEST_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            trial.unlink(missing_ok=True)
        return SPEED_TEST_BYTES / (time.monotonic() - started)


@dataclass
class CacheEntry:
    """One array (V, N, …) on disk: V views of N rows.

    `dtype` is torch's name for it, because numpy has no bfloat16. To fill an entry hold its lock,
    `start` it, `write` batches in any order from any number of processes, and `save` it.
    """

    path: Path
    key: dict = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"

    @cached_property
    def lock(self) -> FileLock:
        """Held while the entry is filled or removed; released when its process dies.

        Not of one thread: a generator that holds it may be closed by another.
        """
        return FileLock(self.path.parent / LOCKS / f"{self.path.name}.lock", thread_local=False)

    @property
    def rows(self) -> int:
        """How many rows are there, from the first on, of this key, shape and dtype."""
        record = self.record()
        expected = {"key": self.key, "shape": list(self.shape), "dtype": self.dtype}
        fits = expected.items() <= record.items() and self.bytes == self.full_bytes
        return record.get("rows", 0) if fits else 0

    @property
    def complete(self) -> bool:
        return self.rows == self.shape[1]

    @property
    def locked(self) -> bool:
        """Whether another training fills it."""
        try:
            with self.lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def record(self) -> dict:
        """The contents of `entry.json`; empty where it is missing or damaged."""
        return read_json(self.path / RECORD)

    def unreadable(self) -> dict[int, str]:
        """Row → why its image could not be read."""
        return {int(row): why for row, why in self.record().get("unreadable", {}).items()}

    @property
    def bytes(self) -> int:
        return file_stat(self.path / DATA)[0]

    @property
    def full_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def used(self) -> float:
        """When it was last read or written, in seconds since the epoch."""
        return max(file_stat(self.path / name)[1] for name in (RECORD, DATA))

    @property
    def description(self) -> str:
        """What it holds, for people."""
        record = self.record()
        if not record or record.get("rows") != record["shape"][1]:
            return "incomplete: completed when a training needs it"
        key, (views, images, *_) = record["key"], record["shape"]
        level = {None: "pixels", "none": "features"}.get(key.get("cut"), "input of {cut}")
        return (
            f"{level.format(**key)} of {key['source']}, {key['split']}: {images} images, "
            f"{views} views, {key['transform']['image_size']} px, {record['dtype']}"
        )

    def touch(self) -> None:
        with cache_errors():
            (self.path / RECORD).touch()

    def start(self) -> None:
        """Make a file of zeros of full size. Raises CacheError on a full disk."""
        self.discard()
        with cache_errors():
            self.path.mkdir(exist_ok=True)
            with (self.path / DATA).open("wb") as file:
                if hasattr(os, "posix_fallocate"):  # takes the room on the disk at once
                    os.posix_fallocate(file.fileno(), 0, self.full_bytes)
                else:
                    file.truncate(self.full_bytes)

    def write(self, row: int, values: np.ndarray, unreadable: dict[int, str]) -> None:
        """`values` (V, n, …) of the n rows from `row` on. Raises CacheError on a full disk."""
        row_bytes = math.prod(self.shape[2:]) * ITEM_BYTES[self.dtype]
        with cache_errors(), (self.path / DATA).open("r+b") as file:
            for view, block in enumerate(values):
                file.seek((view * self.shape[1] + row) * row_bytes)
                file.write(np.ascontiguousarray(block))
        if unreadable:
            with cache_errors(), (self.path / UNREADABLE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(unreadable) + "\n")

    def save(self, rows: int) -> None:
        """Record that the first `rows` are there, once they reached the disk. Raises CacheError."""
        record = {"key": self.key, "shape": self.shape, "dtype": self.dtype, "rows": rows}
        record["unreadable"], part = {}, self.path / f"{RECORD}.part"
        with cache_errors():
            with (self.path / DATA).open("r+b") as file:
                os.fsync(file.fileno())
            if (self.path / UNREADABLE).exists():
                for line in (self.path / UNREADABLE).read_text(encoding="utf-8").splitlines():
                    record["unreadable"] |= json.loads(line)
            part.write_text(json.dumps(record), encoding="utf-8")
            part.replace(self.path / RECORD)

    def remove(self) -> bool:
        """Whether it is gone; an entry that is being filled stays."""
        with suppress(Timeout), self.lock.acquire(timeout=0):
            self.discard()
        return not self.path.exists()

    def discard(self) -> None:
        """Remove it; the caller holds its lock."""
        with suppress(OSError):
            (self.path / RECORD).unlink()  # first: an entry that is half removed is never found
        shutil.rmtree(self.path, ignore_errors=True)
