"""Images streamed from the Hub, saved in the user's own cache and found by what was asked for.

A snapshot is a folder: `entry.json` with everything but pixels, and the encoded images one after
another in `images.bin`. Folders are 0700 and files 0600, for some come from private datasets. The
store is bounded and removes nothing that is being read: see `transfer.cache.downloads`.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from transfer.cache.downloads import PART, DatasetDownload, open_datasets
from transfer.cache.paths import cache_errors, file_stat
from transfer.cache.store import RECORD
from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.errors import ImageError

FORMAT = 2
IMAGES = "images.bin"
RESERVED_BYTES, SHARE_RESERVED = 1 << 25, 64  # 32 MB, or a 64th of a small cache


def find(key: dict) -> ImageDataset | None:
    """What was saved under this key (JSON), or None."""
    return _open(_place(key))


def find_public(name: str, options: dict) -> ImageDataset | None:
    """The newest snapshot of a public dataset with these options, at whatever revision."""
    complete = [dataset for dataset in open_datasets().entries() if dataset.complete]
    newest = sorted(complete, key=lambda one: file_stat(one.path / RECORD)[1], reverse=True)
    for dataset in newest:
        record = dataset.record()
        if record.get("format") != FORMAT:
            continue
        key = record["key"]
        same_name = f"/{key['name']}".endswith(f"/{name}")
        if same_name and not key["closed"] and all(key[k] == v for k, v in options.items()):
            return _open(dataset)
    return None


@dataclass
class SavedSplit:
    """One split's images in the order of writing; `spans` are (start, end) bytes in the file."""

    labels: list = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class SnapshotWriter:
    """Appends images to a new snapshot, then `finish` makes it complete."""

    folder: Path
    file: BinaryIO
    key: dict
    splits: dict[str, SavedSplit] = field(default_factory=dict)
    _reserved: int = 0

    def add(self, split: str, label, name: str, data: bytes) -> None:
        """Raises CacheError on a full disk or cache."""
        start, saved = self.file.tell(), self.splits[split]
        self._make_room(len(data))
        with cache_errors():
            self.file.write(data)
        saved.labels.append(label)
        saved.names.append(name)
        saved.spans.append((start, start + len(data)))

    def finish(self, images: ImageDataset, labels: dict[str, np.ndarray]) -> None:
        """`labels`: of each split that is used, int64 (N,), indices into the classes."""
        known = asdict(images) | {"format": FORMAT, "key": self.key}
        known["splits"] = {
            name: asdict(self.splits[name]) | {"labels": numbers.tolist()}
            for name, numbers in labels.items()
        }
        with cache_errors():
            self.file.flush()
            with _create(self.folder / RECORD) as record:
                record.write(json.dumps(known).encode())

    def _make_room(self, needed: int) -> None:
        """Reserves a stretch at a time, for it has to look at everything that is stored."""
        if needed > self._reserved:
            datasets = open_datasets()
            self._reserved = max(needed, min(RESERVED_BYTES, datasets.limit // SHARE_RESERVED))
            datasets.make_room(self._reserved, keep=(DatasetDownload(path=self.folder),))
        self._reserved -= needed


@contextmanager
def writing(key: dict) -> Iterator[SnapshotWriter]:
    """A new snapshot, found under the key only once the block has ended without an error."""
    datasets, place = open_datasets(), _place(key)
    for dataset in datasets.entries():
        if not dataset.complete:
            dataset.remove()  # what a killed process left; one that is being written stays
    part = datasets.of(f"{secrets.token_hex(16)}{PART}")
    with cache_errors(), part.lock:
        part.path.mkdir(mode=0o700)
        held = part.in_use()
    try:
        with _create(part.path / IMAGES) as file:
            yield SnapshotWriter(folder=part.path, file=file, key=key)
        with cache_errors(), part.lock:
            held.release()  # Windows moves no folder in which a file is open
            if not (place.path / RECORD).exists():  # else another process was faster
                part.path.rename(place.path)
    finally:
        held.release()
        part.remove()


def _place(key: dict) -> DatasetDownload:
    text = json.dumps(key | {"format": FORMAT}, sort_keys=True)
    return open_datasets().of(hashlib.sha256(text.encode()).hexdigest())


def _open(dataset: DatasetDownload) -> ImageDataset | None:
    """The snapshot cannot be removed as long as one of its splits exists."""
    held = dataset.in_use()
    if held is None:
        return None
    record = dataset.record()
    if record.get("format") != FORMAT:  # it was cut off, or comes from another version
        held.release()
        dataset.remove()
        return None
    dataset.touch()
    splits = {
        name: Split(
            labels=np.array(split["labels"], dtype=np.int64),
            names=tuple(split["names"]),
            read=partial(_read, dataset.path / IMAGES, split["spans"], held),
        )
        for name, split in record["splits"].items()
    }
    known = {name: record[name] for name in ("source", "revision", "image_column", "label_column")}
    problems = tuple(DataIssue(**problem) for problem in record["problems"])
    return ImageDataset(**known, classes=tuple(record["classes"]), splits=splits, problems=problems)


def _read(path: Path, spans: list, held: FileLock, row: int) -> bytes:
    """The snapshot stays as long as `held`, its lock, is referenced."""
    start, end = spans[row]
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    except OSError:
        raise ImageError("its copy in the cache is gone; open the dataset again") from None


def _create(path: Path) -> BinaryIO:
    """A new file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
