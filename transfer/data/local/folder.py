"""A folder of class folders, of splits that hold such, or of images beside a table of labels."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.local.tree import FileTree, is_image, is_junk, is_table, open_tree
from transfer.errors import SourceError


def open_folder(folder: Path, label_column: str | None = None) -> ImageDataset:
    """Links that leave the folder are not followed. Raises SourceError."""
    if not folder.is_dir():
        raise SourceError(f"expected a folder of class folders, found the file {folder.name!r}")
    problems: list[DataIssue] = []
    folders, files = [], []
    for path, is_folder in _walk(folder):
        if is_folder:
            folders.append(path)
            if (folder / path).is_symlink():
                why = "a link to a folder, which is not followed"
                problems.append(DataIssue(where=path, why=why, skipped=0))
        elif why := _not_to_be_read(folder, path):
            problems.append(DataIssue(where=path, why=why))
        else:
            files.append(path)
    tree = FileTree(
        name=folder.name,
        files=tuple(files),
        folders=tuple(folders),
        read=lambda file: folder / file,
        data=lambda file: (folder / file).read_bytes(),
    )
    return open_tree(tree, str(folder), _revision(folder, files), label_column, problems)


def _walk(top: Path) -> Iterator[tuple[str, bool]]:
    """(path relative to `top`, whether it is a folder), sorted, without hidden ones."""

    def refuse(error: OSError) -> None:
        name = Path(error.filename or "").name
        raise SourceError(f"the folder {name!r} may not be read; check its permissions") from None

    for where, folders, files in _folder_by_folder(top, refuse):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        inside = Path(where).relative_to(top)
        for name in folders:
            yield (inside / name).as_posix(), True
        for name in sorted(files):
            if not is_junk(name):
                yield (inside / name).as_posix(), False


def _folder_by_folder(top: Path, refuse: Callable[[OSError], None]) -> Iterator[tuple]:
    try:
        yield from os.walk(top, onerror=refuse)
    except RecursionError:
        raise SourceError(
            f"the folders in {top.name!r} lie too deep within each other; move the images up"
        ) from None


def _not_to_be_read(folder: Path, file: str) -> str:
    """Why a file that is named as an image or a table is none, or nothing."""
    path = folder / file
    if not is_image(file) and not is_table(file):
        return ""
    if not path.is_file():
        return "not a file, or a link to nothing"
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        return "a link that leaves the folder"
    return ""


def _revision(folder: Path, files: list[str]) -> str:
    """A hash of every file's name, size and time of change: it changes when the images do."""
    digest = hashlib.sha256()
    for file in files:
        if is_image(file) or is_table(file):
            stat = (folder / file).stat()
            name = os.fsencode(file)  # a name need not be Unicode
            digest.update(name + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
