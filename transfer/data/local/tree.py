"""Files in folders, on disk or in an archive → labelled images.

The class of an image is its folder's name, or is given in a table beside the images.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from posixpath import basename, dirname, join, normpath, splitext

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, listed
from transfer.data.local.metadata import TABLES, read_table
from transfer.data.splits import split_called
from transfer.errors import SourceError

IMAGE_SUFFIXES = (
    ".jpg .jpeg .jfif .png .gif .webp .bmp .tif .tiff .ppm .pgm .heic .heif .avif".split()
)
MOST_SPLITS = 10  # as in cross-validation; more folders than that are classes
JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The contents of one folder called `name`, as paths relative to it, with slashes.

    `read(file)` returns a file's path or its bytes.
    """

    name: str
    files: list[str]
    folders: list[str]
    read: Callable[[str], Path | bytes]


def is_image(file: str) -> bool:
    return splitext(file)[1].lower() in IMAGE_SUFFIXES


def is_table(file: str) -> bool:
    return basename(file).lower() in TABLES


def is_junk(name: str) -> bool:
    """Hidden, or a file that macOS or Windows writes for itself."""
    return name.startswith(".") or name.lower() in JUNK


def revision_of(files: Iterable[tuple[str, int, int]]) -> str:
    """A hash of each file's name, size, and modification time or checksum."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode("{}\0{}\0{}\n".format(*file)))  # a name need not be Unicode
    return digest.hexdigest()[:16]


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
    tables = [file for place in places for file in _children(tree.files, place) if is_table(file)]
    if tables:
        labels, label_column = _by_table(tree, tables, label_column, problems)
    else:
        if splits["train"] == top:
            _check_no_splits(tree, top)
        labels, label_column = _by_folder(tree, splits, problems), None
    problems += _unused(labels if tables else filter(is_image, tree.files), splits, top)
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


def _children(paths: list[str], folder: str) -> list[str]:
    """Those right below `folder`, which is empty or ends in a slash, as everywhere below."""
    return [path for path in paths if dirname(path) == folder.removesuffix("/")]


def _top(tree: FileTree) -> str:
    """The folder of the classes or splits: single folders around it are passed through."""
    top = ""
    while True:
        inside, files = _children(tree.folders, top), _children(tree.files, top)
        if len(inside) != 1 or any(is_image(file) or is_table(file) for file in files):
            return top
        only = f"{inside[0]}/"
        deeper = _children(tree.folders, only) or any(map(is_table, _children(tree.files, only)))
        # a folder of nothing but images is a class
        if split_called(basename(inside[0])) or not deeper:
            return top
        top = only


def _split_folders(tree: FileTree, top: str) -> dict[str, str]:
    """Split → its folder; without a folder for train, everything is the training split."""
    folders: dict[str, list[str]] = {}
    for path in _children(tree.folders, top):
        if split := split_called(basename(path)):
            folders.setdefault(split, []).append(path)
    if "train" not in folders:
        return {"train": top}
    for split, paths in folders.items():
        if len(paths) > 1:
            found = " and ".join(map(basename, paths))
            raise SourceError(f"expected one folder for {split}, found {found}; keep one")
    return {split: f"{path}/" for split, (path,) in folders.items()}


def _check_no_splits(tree: FileTree, top: str) -> None:
    """Raises SourceError where a few folders hold the same folders and no image beside them: these
    are splits of other names, which must not become classes."""
    inside: dict[str, set[str]] = {}
    for file in filter(is_image, tree.files):
        folder, *deeper = file.removeprefix(top).split("/")
        if len(deeper) == 1:
            return
        if deeper:
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
    issues, folders, used = [], Counter(), tuple(splits.values())
    for file in files:
        if not file.startswith(used):
            folder, slash, _ = file.removeprefix(top).partition("/")
            if slash:
                folders[folder] += 1
            else:
                issues.append(DataIssue(file, "not in the folder of a split"))
    why = "not used: not called train, validation or test"
    return issues + [DataIssue(name, f"{why} ({n:,} images)", n) for name, n in folders.items()]


def _by_folder(tree: FileTree, splits: dict[str, str], problems: list[DataIssue]) -> dict[str, str]:
    """Image → class; raises SourceError where a class folder has none."""
    labels: dict[str, str] = {}
    for folder in splits.values():
        used = set()
        for file in (file for file in tree.files if file.startswith(folder)):
            name, slash, _ = file.removeprefix(folder).partition("/")
            if not is_image(file):
                problems.append(DataIssue(file, "not named as an image", skipped=0))
            elif not slash:
                problems.append(DataIssue(file, "not in the folder of a class"))
            else:
                labels[file] = name
                used.add(name)
        names = map(basename, _children(tree.folders, folder))
        empty = [name for name in names if name not in used]
        if used and empty:
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
    # a letter and its accent as one character: macOS stores two in file names, tables have one
    composed = partial(unicodedata.normalize, "NFC")
    there = {composed(file): file for file in tree.files if is_image(file)}
    for table in tables:
        try:
            data = tree.read(table)
            data = data if isinstance(data, bytes) else data.read_bytes()
        except OSError as error:
            raise SourceError(f"{table!r} cannot be read ({error.strerror}); check it") from None
        rows, column, guesses = read_table(table, data, column)
        problems += guesses
        for number, name, label in rows:
            path = normpath(join(dirname(table), name.replace("\\", "/")))
            file = there.get(composed(path))  # never one outside the tree
            if file is None or label is None:
                # an image that gets no label is counted below
                why = "no label" if file else f"there is no image {name[:80]!r} in this folder"
                problems.append(DataIssue(f"{table} row {number}", why, skipped=0))
            elif labels.setdefault(file, label) != label:
                raise SourceError(
                    f"expected one label for {name[:80]!r} in {table!r}, found "
                    f"{labels[file]!r} and {label!r}; keep one"
                )
    unnamed = sorted(set(there.values()) - labels.keys(), key=lambda file: file.split("/"))
    problems += [DataIssue(file, "not in the table of labels") for file in unnamed]
    return labels, column


def _split(tree: FileTree, folder: str, labels: dict[str, str], classes: tuple[str, ...]) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    inside = [file for file in labels if file.startswith(folder)]
    files = sorted(inside, key=lambda file: (label_of[labels[file]], file.split("/")))
    return Split(
        labels=np.array([label_of[labels[file]] for file in files], dtype=np.int64),
        names=tuple(files),
        read=lambda i: tree.read(files[i]),
    )


def _numbers_first(name: str) -> tuple:
    """Sort key: numbers by value, then words."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 18 else (1, 0, name)
