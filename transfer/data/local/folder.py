"""A folder of class folders, of splits that hold such, or of images beside a table of labels."""

import os
from collections.abc import Iterator
from pathlib import Path

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.local.tree import FileTree, is_image, is_junk, is_table, open_tree, revision_of
from transfer.errors import SourceError


def open_folder(folder: Path, label_column: str | None = None) -> ImageDataset:
    """Links that lead out of the folder are not followed. Raises SourceError."""
    if not folder.is_dir():
        raise SourceError(f"expected a folder of class folders, found the file {folder.name!r}")
    problems: list[DataIssue] = []
    folders, files = [], []
    for path, is_folder in _walk(folder):
        if is_folder:
            folders.append(path)
            if (folder / path).is_symlink():
                problems.append(DataIssue(path, "a link to a folder, which is not followed", 0))
        elif why := _refusal(folder, path):
            problems.append(DataIssue(path, why))
        else:
            files.append(path)
    used = (file for file in files if is_image(file) or is_table(file))
    stats = ((file, (folder / file).stat()) for file in used)
    revision = revision_of((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)
    tree = FileTree(name=folder.name, files=files, folders=folders, read=lambda file: folder / file)
    return open_tree(tree, str(folder), revision, label_column, problems)


def _walk(top: Path) -> Iterator[tuple[str, bool]]:
    """(path relative to `top`, whether it is a folder), sorted, without hidden ones."""

    def refuse(error: OSError) -> None:
        name = Path(error.filename or "").name
        raise SourceError(f"the folder {name!r} cannot be read; check its permissions") from None

    try:
        for where, folders, files in os.walk(top, onerror=refuse):
            inside = Path(where).relative_to(top)
            folders[:] = sorted(name for name in folders if not is_junk(name))
            files = sorted(name for name in files if not is_junk(name))
            yield from (((inside / name).as_posix(), True) for name in folders)
            yield from (((inside / name).as_posix(), False) for name in files)
    except RecursionError:
        raise SourceError(
            f"the folders in {top.name!r} are nested too deeply; move the images up"
        ) from None


def _refusal(folder: Path, file: str) -> str:
    """Why a file named as an image or table is not read, or nothing."""
    path = folder / file
    if not is_image(file) and not is_table(file):
        return ""
    if not path.is_file():
        return "not a file, or a link to nothing"
    inside = not path.is_symlink() or path.resolve().is_relative_to(folder.resolve())
    return "" if inside else "a link out of the folder"
