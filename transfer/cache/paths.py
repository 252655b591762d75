"""Where the cache is, and one clear line when its disk fails."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from transfer.errors import CacheError


def cache_folder() -> Path:
    """`TRANSFER_CACHE`, else `transfer-vgg16` in the user's cache folder. Raises CacheError."""
    if named := os.environ.get("TRANSFER_CACHE"):
        return Path(os.path.expanduser(named))  # noqa: PTH111 (without a home it stays as it is)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # as in a container, for a user that the system does not know
        raise CacheError(
            "expected a home folder for the cache, found none; set TRANSFER_CACHE to a folder"
        ) from None
    return Path(base) / "transfer-vgg16"


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
    """An error of the disk becomes a CacheError, but a lock that another process holds does not."""
    try:
        yield
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:  # a disk may have no locks
        reason = getattr(error, "strerror", None) or error
        raise CacheError(
            f"the cache {cache_folder().name!r} could not be written ({reason}); free some disk, "
            "or set TRANSFER_CACHE to another place"
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
