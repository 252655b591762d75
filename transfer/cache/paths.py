"""Where the cache is, and one clear line when its disk fails."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.errors import CacheError


def cache_folder() -> Path:
    """`TRANSFER_CACHE`, else `transfer-vgg16` in the user's cache folder."""
    if named := os.environ.get("TRANSFER_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "transfer-vgg16"


def private_folder(name: str) -> Path:
    """A folder of the cache that no other user of the machine can read. Raises CacheError."""
    folder = cache_folder()
    with cache_errors():
        folder.mkdir(parents=True, exist_ok=True)
        for part in name.split("/"):
            folder /= part
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
    return folder


@contextmanager
def cache_errors() -> Iterator[None]:
    """An error of the disk becomes a CacheError."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"the cache {cache_folder().name!r} could not be written ({error.strerror}); free "
            "some disk, or set TRANSFER_CACHE to another place"
        ) from None


def read_json(path: Path) -> dict:
    """Empty where the file is missing or no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def file_stat(path: Path) -> tuple[int, float]:
    """(bytes, seconds since the epoch of the last change); zeros where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0.0
    return found.st_size, found.st_mtime
