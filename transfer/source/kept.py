"""Images taken from the Hub, kept in the user's own cache: found by what was asked for.

One folder a taking: `taken.json` with everything but pixels, and a file of encoded images a split.
Folders are 0700 and files 0600, for some of them came from private data sets.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from transfer.errors import ImageError
from transfer.source.labelled import LabelledImages, Problem, Split
from transfer.store import private_folder, told

FORMAT = 1
RECORD, PART = "taken.json", ".part"
DAY_SECONDS = 24 * 3600


def find(key: dict) -> LabelledImages | None:
    """What was kept under this key (JSON), or None."""
    images = _open(_place(key))
    if images is None:
        shutil.rmtree(_place(key), ignore_errors=True)  # cut off, or of an older version
    return images


def find_public(name: str, wish: dict) -> LabelledImages | None:
    """The newest taking of an open data set that this wish made, at whatever revision."""
    folders = (path.parent for path in private_folder("taken").glob(f"*/{RECORD}"))
    found = [folder for folder in folders if folder.suffix != PART]
    for folder in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        key = (_record(folder) or {}).get("key", {})
        named = key.get("name", "") == name or key.get("name", "").endswith(f"/{name}")
        if named and not key["closed"] and all(key[field] == wish[field] for field in wish):
            return _open(folder)
    return None


@dataclass
class Kept:
    """What one split's images are written to, in order; `spans` are (start, end) in bytes."""

    path: Path
    file: BinaryIO
    names: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> None:
        """Raises CacheError on a full disk."""
        start = self.spans[-1][1] if self.spans else 0
        with told():
            self.file.write(data)
        self.names.append(name)
        self.spans.append((start, start + len(data)))

    def as_split(self, labels: np.ndarray) -> Split:
        read = functools.partial(_read, self.path, self.spans)
        return Split(labels=labels, names=tuple(self.names), read=read)


@contextmanager
def keeping(key: dict) -> Iterator[Path]:
    """A new folder, found under the key only once the block has ended well."""
    top = private_folder("taken")
    _remove_leftovers(top)
    with told():
        part = Path(tempfile.mkdtemp(dir=top, suffix=PART))
    try:
        yield part
        with told():
            _move(part, _place(key))
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def split_file(folder: Path, split: str) -> Iterator[Kept]:
    path = folder / f"{split}.bin"
    with told():
        file = _create(path)
    with file:
        yield Kept(path=path, file=file)
        with told():
            file.flush()


def write_record(folder: Path, key: dict, images: LabelledImages, kept: dict[str, Kept]) -> None:
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
    with told(), _create(folder / RECORD) as file:
        file.write(json.dumps(record).encode())


def _place(key: dict) -> Path:
    text = json.dumps(key | {"format": FORMAT}, sort_keys=True)
    return private_folder("taken") / hashlib.sha256(text.encode()).hexdigest()


def _record(folder: Path) -> dict | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("format") == FORMAT else None


def _open(folder: Path) -> LabelledImages | None:
    record = _record(folder)
    if record is None:
        return None
    return LabelledImages(
        source=record["source"],
        revision=record["revision"],
        classes=tuple(record["classes"]),
        splits={
            name: Split(
                labels=np.array(split["labels"], dtype=np.int64),
                names=tuple(split["names"]),
                read=functools.partial(_read, folder / f"{name}.bin", split["spans"]),
            )
            for name, split in record["splits"].items()
        },
        image_column=record["image_column"],
        label_column=record["label_column"],
        problems=tuple(Problem(**problem) for problem in record["problems"]),
    )


def _read(path: Path, spans: list[list[int]], row: int) -> bytes:
    start, end = spans[row]
    try:
        with path.open("rb") as file:
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


def _remove_leftovers(top: Path) -> None:
    """What trainings left that were killed while they took images."""
    for part in top.glob(f"*{PART}"):
        try:
            if time.time() - part.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(part, ignore_errors=True)
        except OSError:
            continue
