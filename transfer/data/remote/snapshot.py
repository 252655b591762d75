"""Images taken from the Hub, kept in the user's own cache: found by what was asked for.

One folder a taking: `taken.json` with everything but pixels, and a file of encoded images a split.
Folders are 0700 and files 0600, for some of them came from private data sets. They are bounded, and
nothing goes that somebody reads: see `transfer.cache.downloads`.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from transfer.cache.downloads import PART, RECORD, DataSet, DataSets, open_data_sets
from transfer.cache.paths import cache_errors
from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.errors import ImageError

FORMAT = 1
STRETCH_BYTES, STRETCHES = 1 << 25, 64


def find(key: dict) -> ImageDataset | None:
    """What was kept under this key (JSON), or None."""
    return _open(_place(key))


def find_public(name: str, wish: dict) -> ImageDataset | None:
    """The newest taking of an open data set that this wish made, at whatever revision."""
    found = [data_set for data_set in open_data_sets().entries() if data_set.whole]
    for data_set in sorted(found, key=lambda one: one.written, reverse=True):
        key = _record(data_set).get("key", {})
        named = key.get("name", "") == name or key.get("name", "").endswith(f"/{name}")
        if named and not key["closed"] and all(key[field] == wish[field] for field in wish):
            return _open(data_set)
    return None


@dataclass
class SplitWriter:
    """What one split's images are written to, in order; `spans` are (start, end) in bytes."""

    path: Path
    file: BinaryIO
    names: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    _room: int = 0

    def add(self, name: str, data: bytes) -> None:
        """What was used least recently goes for it. Raises CacheError on a full disk or cache."""
        start = self.spans[-1][1] if self.spans else 0
        self._make_room(len(data))
        with cache_errors():
            self.file.write(data)
        self.names.append(name)
        self.spans.append((start, start + len(data)))

    def as_split(self, labels: np.ndarray) -> Split:
        read = _Reader(self.path, self.spans).read
        return Split(labels=labels, names=tuple(self.names), read=read)

    def _make_room(self, needed: int) -> None:
        """A stretch at a time, for it takes a look at all that is kept."""
        if needed > self._room:
            data_sets = open_data_sets()
            self._room = max(needed, min(STRETCH_BYTES, data_sets.limit // STRETCHES))
            data_sets.make_room(self._room, keep=(DataSet(path=self.path.parent),))
        self._room -= needed


@contextmanager
def keeping(key: dict) -> Iterator[Path]:
    """A new folder, found under the key only once the block has ended well."""
    data_sets, place = open_data_sets(), _place(key)
    _remove_leftovers(data_sets)
    part = data_sets.of(f"{secrets.token_hex(16)}{PART}")
    with cache_errors(), part.lock:
        part.path.mkdir(mode=0o700)
        held = part.in_use()
    try:
        yield part.path
        with cache_errors(), part.lock:
            held.release()  # Windows moves no folder in which a file is open
            _move(part.path, place.path)
    finally:
        held.release()
        part.remove()


@contextmanager
def split_file(folder: Path, split: str) -> Iterator[SplitWriter]:
    path = folder / f"{split}.bin"
    with cache_errors():
        file = _create(path)
    with file:
        yield SplitWriter(path=path, file=file)
        with cache_errors():
            file.flush()


def write_record(
    folder: Path, key: dict, images: ImageDataset, kept: dict[str, SplitWriter]
) -> None:
    """What is known of `images`; a split's file that it does not use goes."""
    for name in kept.keys() - images.splits.keys():
        kept[name].path.unlink()
    record = {
        "format": FORMAT,
        "key": key,
        "source": images.source,
        "revision": images.revision,
        "classes": images.classes,
        "image_column": images.image_column,
        "label_column": images.label_column,
        "problems": [asdict(problem) for problem in images.problems],
        "splits": {
            name: {
                "labels": split.labels.tolist(),
                "names": list(split.names),
                "spans": kept[name].spans,
            }
            for name, split in images.splits.items()
        },
    }
    with cache_errors(), _create(folder / RECORD) as file:
        file.write(json.dumps(record).encode())


def _place(key: dict) -> DataSet:
    text = json.dumps(key | {"format": FORMAT}, sort_keys=True)
    return open_data_sets().of(hashlib.sha256(text.encode()).hexdigest())


def _record(data_set: DataSet) -> dict:
    """Nothing where it was cut off, or is of another version."""
    record = data_set.known()
    return record if record.get("format") == FORMAT else {}


def _open(data_set: DataSet) -> ImageDataset | None:
    """They are not removed as long as anything can read of them."""
    held = data_set.in_use()
    if held is None:
        return None
    record = _record(data_set)
    if not record:
        held.release()
        data_set.remove()
        return None
    data_set.touch()
    return ImageDataset(
        source=record["source"],
        revision=record["revision"],
        classes=tuple(record["classes"]),
        splits={
            name: Split(
                labels=np.array(split["labels"], dtype=np.int64),
                names=tuple(split["names"]),
                read=_Reader(data_set.path / f"{name}.bin", split["spans"], held).read,
            )
            for name, split in record["splits"].items()
        },
        image_column=record["image_column"],
        label_column=record["label_column"],
        problems=tuple(DataIssue(**problem) for problem in record["problems"]),
    )


@dataclass(frozen=True)
class _Reader:
    """Of one split's images; they are not removed as long as it is there to hold the lock."""

    path: Path
    spans: list
    held: FileLock | None = None

    def read(self, row: int) -> bytes:
        start, end = self.spans[row]
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError:
            raise ImageError("its copy in the cache is gone; open the data set again") from None


def _create(path: Path) -> BinaryIO:
    """A new file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _move(part: Path, place: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        if not (place / RECORD).exists():  # somebody else was not quicker
            raise


def _remove_leftovers(data_sets: DataSets) -> None:
    """What trainings left that were killed while they took images."""
    for data_set in data_sets.entries():
        if not data_set.whole:
            data_set.remove()
