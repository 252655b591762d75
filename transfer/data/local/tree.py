"""Files in folders, on disk or in an archive → labelled images.

The class of an image is its folder's name, or is given in a table beside the images.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from posixpath import basename, dirname, join, normpath, splitext

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, because, listed
from transfer.data.file_names import is_image
from transfer.data.labels import class_name, used_splits, without_labels
from transfer.data.local.layout import FileTree, check_class_folders, find_splits, is_table
from transfer.data.local.metadata import TABLES, read_table
from transfer.data.splits import named_like_splits, split_called
from transfer.errors import SourceError
from transfer.formatting import encodable

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
    named: dict[str, str] = {}
    if tables:
        labels, named, label_column = _by_table(tree, tables, label_column, problems)
    else:
        problems += check_class_folders(tree, top, splits)
        labels, label_column = _by_folder(tree, splits, problems), None
    problems += _unused(labels if tables else filter(is_image, tree.files), splits, top)
    files = {
        name: [file for file in labels if file.startswith(folder)]
        for name, folder in splits.items()
    }
    if named:
        files = _by_split_column(named, files, problems)
    if tables:
        files = _with_known_labels(labels, files, problems)
    used = {labels[file] for inside in files.values() for file in inside}
    classes = tuple(sorted(used, key=_numbers_first))
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
    found = {name: _split(tree, inside, labels, classes) for name, inside in files.items()}
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
                labels[file] = class_name(name) or name
                used.add(labels[file])
        paths = tree.folders_in(folder)
        empty = [path for path in paths if class_name(basename(path)) not in used]
        if used and empty:
            start = encodable(f"{empty[0]}/")
            there = [p for p in problems if f"{p.where}/".startswith(start)]
            raise SourceError(
                f"expected images in every class folder of {tree.name!r}, found none in "
                f"{basename(empty[0])!r}{because(there)}; add images or remove the folder"
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
) -> tuple[dict[str, str], dict[str, str], str | None]:
    """(image → class, image → what a column of splits says, the column of labels).

    Raises SourceError.
    """
    labels: dict[str, str] = {}
    named: dict[str, str] = {}
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
        for row in rows:
            # blanks around a name are hardly part of it
            paths = (
                join(dirname(table), name.replace("\\", "/"))
                for name in (row.file, row.file.strip())
            )
            # never one outside the tree
            file = next(filter(None, (there.get(composed(normpath(p))) for p in paths)), None)
            if file is None or row.label is None:
                # an image that gets no label is counted below
                why = "no label" if file else f"there is no image {row.file[:80]!r} in this folder"
                problems.append(DataIssue(f"{table} row {row.number}", why, skipped=0))
                continue
            _set_once(labels, file, row.label, "label", table)
            if row.split is not None:
                _set_once(named, file, row.split, "split", table)
    unnamed = sorted(set(there.values()) - labels.keys(), key=lambda file: file.split("/"))
    problems += [DataIssue(file, "not in the table of labels") for file in unnamed]
    return labels, named, column


def _set_once(found: dict[str, str], file: str, value: str, what: str, table: str) -> None:
    if found.setdefault(file, value) != value:
        raise SourceError(
            f"expected one {what} for {basename(file)[:80]!r} in {table!r}, found "
            f"{found[file]!r} and {value!r}; keep one"
        )


def _by_split_column(
    named: dict[str, str], files: dict[str, list[str]], problems: list[DataIssue]
) -> dict[str, list[str]]:
    """Split → its files as a table's column of splits has them, unless folders are the splits."""
    names = list(dict.fromkeys(named.values()))
    by_folder = list(files) != ["train"]
    if by_folder or not any(map(split_called, names)):
        others = "the folders are the splits" if by_folder else f"it holds {listed(names)}"
        problems.append(DataIssue("the table's column of splits", f"not used: {others}", 0))
        return files
    issues: list[DataIssue] = []
    used, counts = used_splits(names, issues), Counter(named.values())
    unused = [name for name in names if name not in used]
    problems += [
        replace(issue, skipped=counts[name]) for name, issue in zip(unused, issues, strict=True)
    ]
    return {used[name]: [f for f in files["train"] if named.get(f) == name] for name in used}


def _with_known_labels(
    labels: dict[str, str], files: dict[str, list[str]], problems: list[DataIssue]
) -> dict[str, list[str]]:
    """Without the splits whose labels seem to be hidden; see `without_labels`."""
    known, train = {}, [labels[file] for file in files.get("train", [])]
    for split, inside in files.items():
        values = [labels[file] for file in inside]
        why = without_labels(values, train, str) if values and split != "train" else None
        if why:
            problems.append(DataIssue(f"split {split!r}", why, skipped=len(inside)))
        else:
            known[split] = inside
    return known


def _split(
    tree: FileTree, inside: list[str], labels: dict[str, str], classes: tuple[str, ...]
) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    files = sorted(inside, key=lambda file: (label_of[labels[file]], file.split("/")))
    return Split(
        labels=np.array([label_of[labels[file]] for file in files], dtype=np.int64),
        names=tuple(map(encodable, files)),
        read=lambda i: tree.read(files[i]),
    )


def _numbers_first(name: str) -> tuple:
    """Sort key: numbers by value, then words."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 18 else (1, 0, name)
