"""A folder that appears complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.errors import RunError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder to fill; its files become `out`, which must be new or empty.

    Raises RunError if `out` holds something or cannot be written.
    """
    part = None
    try:
        exists = out.is_dir()
        if out.exists() and (not exists or any(out.iterdir())):
            raise RunError(
                f"expected a new or empty folder, found {out.name!r} with something in it; choose "
                "another name or remove it"
            )
        # An empty folder is filled from within: it may be a mount, which cannot be replaced.
        part = (out if exists else out.parent) / f".{out.name}.{os.getpid()}.part"
        part.mkdir(parents=True)
        yield part
        if exists:
            # JSON comes last: config.json or run.json makes a folder one that can be loaded.
            for path in sorted(part.iterdir(), key=lambda path: (path.suffix == ".json", path)):
                path.replace(out / path.name)
        else:
            part.rename(out)
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise RunError(
            f"the folder {out.name!r} cannot be written ({reason}); choose another place"
        ) from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
