"""A file that is filled from its beginning on, and goes on after a kill where it was left."""

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from transfer.cache.paths import cache_errors

READ_BYTES = 1 << 20


class PartFile:
    """`path` while it is filled, and a note beside it of how much is on the disk for certain.

    What the note does not vouch for, or no longer hashes to what it says, is written again.
    Whoever opens it holds a lock. Use it in a `with`; leaving it keeps what has come.
    """

    def __init__(self, path: Path, beginning: bytes):
        self.path = path
        self._note = path.with_name(f"{path.name}.json")
        self._beginning = beginning
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.bytes = 0

    def __enter__(self) -> "PartFile":
        with cache_errors():
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            if not self._goes_on():
                self._file.seek(0)
                self._file.truncate()
                self._hash, self.bytes = hashlib.sha256(), 0
                self.write(self._beginning)
        return self

    def __exit__(self, *_) -> None:
        try:
            if self._file is not None:
                self.save()
        finally:
            self.close()

    def _goes_on(self) -> bool:
        """Whether what the note vouches for is there; then the file ends with it."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            vouched, sha256 = int(note["bytes"]), note["sha256"]
        except (OSError, ValueError, TypeError, KeyError):
            return False
        beginning = self._file.read(len(self._beginning))
        if vouched < len(beginning) or beginning != self._beginning:
            return False
        self._hash, self.bytes = hashlib.sha256(beginning), len(beginning)
        while chunk := self._file.read(min(READ_BYTES, vouched - self.bytes)):
            self._hash.update(chunk)
            self.bytes += len(chunk)
        self._file.truncate(self.bytes)
        return self.bytes == vouched and self.sha256 == sha256

    @property
    def come(self) -> int:
        """Bytes after the beginning."""
        return self.bytes - len(self._beginning)

    @property
    def sha256(self) -> str:
        """Of all that was written, in hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Raises CacheError on a full disk."""
        with cache_errors():
            self._file.write(chunk)
        self._hash.update(chunk)
        self.bytes += len(chunk)

    def save(self) -> None:
        """From now on what has come survives a kill and a loss of power. Raises CacheError."""
        written = self._note.with_name(f"{self._note.name}.part")
        with cache_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            written.write_text(
                json.dumps({"bytes": self.bytes, "sha256": self.sha256}), encoding="utf-8"
            )
            written.replace(self._note)

    def finish(self, target: Path) -> None:
        """Give the file its name and close it. Raises CacheError."""
        self.save()
        self.close()
        with cache_errors():
            self.path.replace(target)
            self._note.unlink(missing_ok=True)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with cache_errors():
                file.close()
