"""Where the cache is, and one clear line when its disk fails."""

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
    folder = cache_folder() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise CacheError(
            f"expected a cache folder that can be written to, found {folder.parent.name!r} "
            f"({error.strerror}); set TRANSFER_CACHE to another place"
        ) from None
    return folder


@contextmanager
def cache_errors() -> Iterator[None]:
    """An error of the disk becomes a CacheError."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"the cache could not be written ({error.strerror}); free some disk, or set "
            "TRANSFER_CACHE to another place"
        ) from None
