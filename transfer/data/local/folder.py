"""A folder of class folders, of splits that hold such, or of images beside a table of labels."""

import os
from collections.abc import Iterator
from pathlib import Path

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.file_names import is_image, is_junk, without_other_files
from transfer.data.local.layout import FileTree, is_table
from transfer.data.local.tree import open_tree, revision_of
from transfer.errors import SourceError

LINKED = "a link to a folder, which is not followed; copy the folder here"


def open_folder(folder: Path, label_column: str | None = None) -> ImageDataset:
    """Links that lead out of the folder are not followed. Raises SourceError."""
    tree, revision, problems = folder_tree(folder)
    return open_tree(tree, str(folder), revision, label_column, problems)


def folder_tree(folder: Path) -> tuple[FileTree, str, list[DataIssue]]:
    """(what is in the folder, its revision, what is left out). Raises SourceError."""
    if not folder.is_dir():
        raise SourceError(f"expected a folder of class folders, found the file {folder.name!r}")
    name = Path(os.path.abspath(folder)).name  # noqa: PTH100, a link keeps its name
    found = list(_walk(folder))
    files, folders, problems = without_other_files(
        (path for path, is_folder in found if not is_folder),
        (path for path, is_folder in found if is_folder),
    )
    links = (path for path in folders if (folder / path).is_symlink())
    problems += [DataIssue(path, LINKED, 0) for path in links]
    refused = {file: why for file in files if (why := _refusal(folder, file))}
    problems += [DataIssue(file, why) for file, why in refused.items()]
    files = [file for file in files if file not in refused]
    used = (file for file in files if is_image(file) or is_table(file))
    stats = ((file, (folder / file).stat()) for file in used)
    revision = revision_of((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)
    tree = FileTree(name=name, files=files, folders=folders, read=lambda file: folder / file)
    return tree, revision, problems


def _walk(top: Path) -> Iterator[tuple[str, bool]]:
    """(path relative to `top`, whether it is a folder), sorted, without junk."""

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
    if not path.is_symlink() or any(map(path.resolve().is_relative_to, _inside(folder))):
        return ""
    return "a link out of the folder, which is not followed; copy the file here"


def _inside(folder: Path) -> list[Path]:
    """Where its links may lead: into itself, and to where `huggingface_hub` stores the files of the
    snapshot that it is, or is a part of."""
    real = folder.resolve()
    snapshots = (path for path in real.parents if path.name == "snapshots")
    return [real, *(path.parent / "blobs" for path in snapshots)]
