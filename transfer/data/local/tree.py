"""Files in folders, on disk or in an archive → labelled images.

The class of an image is its folder's name, or is given in a table beside the images.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, listed
from transfer.data.local.metadata import TABLES, read_table
from transfer.data.splits import split_called
from transfer.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in "jpg jpeg jfif png gif webp bmp tif tiff ppm pgm heic heif avif".split(" ")
)
MOST_SPLITS = 10  # as in cross-validation; more folders than that are classes
JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The contents of one folder called `name`, as paths relative to it, with slashes.

    `read(file)` returns a file's path or its bytes.
    """

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], Path | bytes]


def is_image(file: str) -> bool:
    dot = file.rfind(".")
    return dot > file.rfind("/") + 1 and file[dot:].lower() in IMAGE_SUFFIXES


def is_table(file: str) -> bool:
    return _name(file).lower() in TABLES


def is_junk(name: str) -> bool:
    """Hidden, or a file that macOS or Windows writes for itself."""
    return name.startswith(".") or name.lower() in JUNK


def open_tree(
    tree: FileTree,
    source: str,
    revision: str,
    label_column: str | None = None,
    problems: Iterable[DataIssue] = (),
) -> ImageDataset:
    """Splits by their folders where there are any; class names sorted. Raises SourceError."""
    problems = list(problems)
    top = _top(tree)
    splits = _split_folders(tree, top)
    places = dict.fromkeys((*splits.values(), top))
    tables = [file for place in places for file in _files_in(tree, place) if is_table(file)]
    if tables:
        labels, label_column = _by_table(tree, tables, label_column, problems)
        problems += _unused(labels, splits, top)
    else:
        if splits["train"] == top:
            _check_no_splits(tree, top)
        labels, label_column = _by_folder(tree, splits, problems), None
        problems += _unused(filter(is_image, tree.files), splits, top)
    classes = tuple(sorted(set(labels.values()), key=_numbers_first))
    if not classes:
        raise SourceError(
            f"expected class folders with images in {tree.name!r} (CLASS/photo.jpg, or "
            "train/CLASS/photo.jpg), or a metadata.csv beside them, found none; put each class's "
            "images into a folder of its name"
        )
    found = {name: _split(tree, folder, labels, classes) for name, folder in splits.items()}
    return ImageDataset(
        source=source,
        revision=revision,
        classes=classes,
        splits={name: split for name, split in found.items() if len(split)},
        label_column=label_column,
        problems=tuple(problems),
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _within(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _below(path: str, folder: str) -> str:
    """The path relative to a folder that it is in."""
    return path[len(folder) + 1 :] if folder else path


def _children(tree: FileTree, folder: str) -> list[str]:
    """The folders right below `folder`."""
    return [path for path in tree.folders if _parent(path) == folder and path != folder]


def _files_in(tree: FileTree, folder: str) -> list[str]:
    return [file for file in tree.files if _parent(file) == folder]


def _top(tree: FileTree) -> str:
    """The folder of the classes or splits: single folders around it are passed through."""
    top = ""
    while True:
        inside, files = _children(tree, top), _files_in(tree, top)
        if len(inside) != 1 or any(is_image(file) or is_table(file) for file in files):
            return top
        (only,) = inside
        deeper = _children(tree, only) or any(map(is_table, _files_in(tree, only)))
        if split_called(_name(only)) or not deeper:  # a folder of nothing but images is a class
            return top
        top = only


def _split_folders(tree: FileTree, top: str) -> dict[str, str]:
    """Split → its folder; without a folder for train, everything is the training split."""
    folders: dict[str, list[str]] = {}
    for path in _children(tree, top):
        if split := split_called(_name(path)):
            folders.setdefault(split, []).append(path)
    if "train" not in folders:
        return {"train": top}
    for split, paths in folders.items():
        if len(paths) > 1:
            found = " and ".join(map(_name, paths))
            raise SourceError(f"expected one folder for {split}, found {found}; keep one")
    return {split: path for split, (path,) in folders.items()}


def _check_no_splits(tree: FileTree, top: str) -> None:
    """Raises SourceError where a few folders hold the same folders and no image beside them: these
    are splits of other names, which must not become classes."""
    inside: dict[str, set[str]] = {}
    for file in tree.files:
        folder, *deeper = _parts(_below(file, top))
        if not is_image(file) or not deeper:
            continue
        if len(deeper) == 1:
            return
        inside.setdefault(folder, set()).add(deeper[0])
    shared = set.intersection(*inside.values()) if inside else set()
    if 2 <= len(inside) <= MOST_SPLITS and len(shared) >= 2:
        raise SourceError(
            f"expected class folders in {tree.name!r}, found the same folders "
            f"({listed(sorted(shared))}) in each of {listed(sorted(inside))}; name these train, "
            "validation and test if they are splits, or move the images up if they are classes"
        )


def _unused(files: Iterable[str], splits: dict[str, str], top: str) -> list[DataIssue]:
    """Images outside the folders of the splits, one issue a folder."""
    beside: Counter[str] = Counter()
    outside = [f for f in files if not any(_within(f, folder) for folder in splits.values())]
    problems = []
    for file in outside:
        name, slash, _ = _below(file, top).partition("/")
        if slash:
            beside[name] += 1
        else:
            problems.append(DataIssue(where=file, why="not in the folder of a split"))
    for name, images in beside.items():
        why = f"not used: not called train, validation or test ({images:,} images)"
        problems.append(DataIssue(where=name, why=why, skipped=images))
    return problems


def _by_folder(tree: FileTree, splits: dict[str, str], problems: list[DataIssue]) -> dict[str, str]:
    """Image → class; raises SourceError where a class folder has none."""
    labels: dict[str, str] = {}
    for folder in splits.values():
        classes = dict.fromkeys(_children(tree, folder), 0)
        for file in tree.files:
            if not _within(file, folder):
                continue
            name, slash, _ = _below(file, folder).partition("/")
            if not is_image(file):
                problems.append(DataIssue(where=file, why="not named as an image", skipped=0))
            elif not slash:
                problems.append(DataIssue(where=file, why="not in the folder of a class"))
            else:
                labels[file] = name
                classes[f"{folder}/{name}" if folder else name] += 1
        empty = [_name(path) for path, images in classes.items() if not images]
        if empty and any(classes.values()):
            raise SourceError(
                f"expected images in every class folder of {tree.name!r}, found none in "
                f"{empty[0]!r}; add images or remove the folder"
            )
    return labels


def _by_table(
    tree: FileTree, tables: list[str], column: str | None, problems: list[DataIssue]
) -> tuple[dict[str, str], str | None]:
    """(image → class, the column of labels). Raises SourceError."""
    labels: dict[str, str] = {}
    there = {_composed(file): file for file in tree.files if is_image(file)}
    for table in tables:
        rows, column, guesses = read_table(table, _data(tree, table), column)
        problems += guesses
        for number, name, label in rows:
            meant = _joined(_parent(table), name)
            file = there.get(_composed(meant or ""))
            why = ""
            if meant is None:
                why = f"{name[:80]!r} leads out of the folder"
            elif file is None:
                why = f"there is no image {name[:80]!r}"
            elif label is None:
                why = "no label"
            elif labels.setdefault(file, label) != label:
                raise SourceError(
                    f"expected one label for {name[:80]!r} in {table!r}, found "
                    f"{labels[file]!r} and {label!r}; keep one"
                )
            if why:
                # an image that gets no label is reported and counted below
                problems.append(DataIssue(where=f"{table} row {number}", why=why, skipped=0))
    unnamed = sorted(set(there.values()) - labels.keys(), key=_parts)
    problems += [DataIssue(where=file, why="not in the table of labels") for file in unnamed]
    return labels, column


def _data(tree: FileTree, table: str) -> bytes:
    try:
        read = tree.read(table)
        return read if isinstance(read, bytes) else read.read_bytes()
    except OSError as error:
        raise SourceError(f"{table!r} cannot be read ({error.strerror}); check it") from None


def _composed(path: str) -> str:
    """A letter and its accent as one character: macOS stores two in file names, tables have one."""
    return unicodedata.normalize("NFC", path)


def _joined(folder: str, name: str) -> str | None:
    """The file that a table names, or None where it leads out of the table's folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or name[:1] in ("/", "\\") or re.match("[A-Za-z]:", name):
        return None
    return "/".join([folder, *parts] if folder else parts)


def _split(tree: FileTree, folder: str, labels: dict[str, str], classes: tuple[str, ...]) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    inside = [file for file in labels if _within(file, folder)]
    files = sorted(inside, key=lambda file: (label_of[labels[file]], _parts(file)))
    return Split(
        labels=np.array([label_of[labels[file]] for file in files], dtype=np.int64),
        names=tuple(files),
        read=lambda i: tree.read(files[i]),
    )


def _parts(file: str) -> list[str]:
    return file.split("/")


def _numbers_first(name: str) -> tuple:
    """Sort key: numbers by value, then words."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 18 else (1, 0, name)


def folders_of(files: Iterable[str]) -> Iterator[str]:
    """Every folder that these files are in."""
    for file in files:
        while file := _parent(file):
            yield file
