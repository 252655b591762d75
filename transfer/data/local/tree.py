"""Files in folders, on disk or in an archive → labelled images.

The class of an image is its folder's name, or is given in a table beside the images.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import partial
from posixpath import basename, dirname, join, normpath, splitext

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, because, listed
from transfer.data.file_names import is_image
from transfer.data.local.layout import FileTree, check_class_folders, find_splits, is_table
from transfer.data.local.metadata import TABLES, read_table
from transfer.data.splits import named_like_splits
from transfer.errors import SourceError

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl")


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
    top, splits = find_splits(tree)
    places = dict.fromkeys((*splits.values(), top))
    tables = [file for place in places for file in tree.tables_in(place)]
    if tables:
        labels, label_column = _by_table(tree, tables, label_column, problems)
    else:
        problems += check_class_folders(tree, top, splits)
        labels, label_column = _by_folder(tree, splits, problems), None
    problems += _unused(labels if tables else filter(is_image, tree.files), splits, top)
    classes = tuple(sorted(set(labels.values()), key=_numbers_first))
    if not classes and tables:
        raise SourceError(
            f"expected rows in {tables[0]!r} with images of {tree.name!r} and their labels, found "
            f"none{because(problems)}; correct the file names in it"
        )
    if not classes:
        raise SourceError(
            f"expected class folders with images in {tree.name!r} (CLASS/photo.jpg, or "
            f"train/CLASS/photo.jpg), or a metadata.csv beside them, found "
            f"none{because(problems)}; put each class's images into a folder of its name"
        )
    if alike := named_like_splits(classes):
        raise SourceError(
            f"expected names of classes in {tree.name!r}, found those of splits "
            f"({listed(alike)}); choose other labels, or other names if these are classes"
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
                problems.append(DataIssue(file, _why_not(file), skipped=0))
            elif not slash:
                problems.append(DataIssue(file, "not in the folder of a class"))
            else:
                labels[file] = name
                used.add(name)
        names = map(basename, tree.folders_in(folder))
        empty = [name for name in names if name not in used]
        if used and empty:
            there = [p for p in problems if f"{p.where}/".startswith(f"{folder}{empty[0]}/")]
            raise SourceError(
                f"expected images in every class folder of {tree.name!r}, found none in "
                f"{empty[0]!r}{because(there)}; add images or remove the folder"
            )
    return labels


def _why_not(file: str) -> str:
    if is_table(file):
        return "not read: this table is not beside the folders of classes, or of splits"
    if splitext(file)[1].lower() in TABLE_ENDINGS:
        return f"not read: a table of labels is called {TABLES[0]}"
    return "not named as an image"


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
            # blanks around a name are hardly part of it
            paths = (join(dirname(table), n.replace("\\", "/")) for n in (name, name.strip()))
            # never one outside the tree
            file = next(filter(None, (there.get(composed(normpath(p))) for p in paths)), None)
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
