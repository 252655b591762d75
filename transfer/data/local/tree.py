"""Files in folders → labelled images, whether they lie on the disk or in an archive.

A class is a folder, or stands in a table beside the images.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.data.image import Picture
from transfer.data.labels import listed
from transfer.data.local.metadata import TABLES, read_table
from transfer.data.splits import split_called
from transfer.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in "jpg jpeg jfif png gif webp bmp tif tiff ppm pgm heic heif avif".split(" ")
)
MOST_SPLITS = 10  # of a cross-validation; more folders than that are classes
JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """What lies below one folder called `name`, in paths relative to it, with slashes.

    `read(file)` gives whatever `load_image` opens, `data(file)` the bytes of a table.
    """

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], Picture]
    data: Callable[[str], bytes]


def is_image(file: str) -> bool:
    dot = file.rfind(".")
    return dot > file.rfind("/") + 1 and file[dot:].lower() in IMAGE_SUFFIXES


def is_table(file: str) -> bool:
    return file.rpartition("/")[2].lower() in TABLES


def is_junk(name: str) -> bool:
    """Hidden, or left behind by a Mac or Windows."""
    return name.startswith(".") or name.lower() in JUNK


def open_tree(
    tree: FileTree,
    source: str,
    revision: str,
    label_column: str | None = None,
    problems: Iterable[DataIssue] = (),
) -> ImageDataset:
    """Splits by their folders where there are any; class names sorted. Raises SourceError."""
    found = list(problems)
    top = _top(tree)
    splits = _split_folders(tree, top)
    tables = [file for file in tree.files if is_table(file) and _parent(file) in splits.values()]
    tables += [file for file in tree.files if is_table(file) and _parent(file) == top]
    tables = list(dict.fromkeys(tables))
    if tables:
        labels, label_column = _by_table(tree, tables, label_column, found)
        found += _unused(labels, splits, top)
    else:
        if splits["train"] == top:
            _check_no_splits(tree, top)
        labels, label_column = _by_folder(tree, splits, found), None
        found += _unused(filter(is_image, tree.files), splits, top)
    classes = tuple(sorted(set(labels.values()), key=_in_order))
    if not classes:
        raise SourceError(
            f"expected class folders with images in {tree.name!r} (CLASS/photo.jpg, or "
            "train/CLASS/photo.jpg), or a metadata.csv beside them, found none; put each class's "
            "images into a folder of its name"
        )
    return ImageDataset(
        source=source,
        revision=revision,
        classes=classes,
        splits={
            name: split
            for name, folder in splits.items()
            if len(split := _split(tree, folder, labels, classes))
        },
        label_column=label_column,
        problems=tuple(found),
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _within(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _below(path: str, folder: str) -> str:
    """The path as it is seen from the folder that it lies in."""
    return path[len(folder) + 1 :] if folder else path


def _children(tree: FileTree, folder: str) -> list[str]:
    """The folders right below `folder`."""
    return [path for path in tree.folders if _parent(path) == folder and path != folder]


def _top(tree: FileTree) -> str:
    """The folder that holds the classes: what is wrapped into one folder more is unwrapped."""
    top = ""
    while True:
        inside = _children(tree, top)
        alone = len(inside) == 1 and not any(_parent(f) == top and is_image(f) for f in tree.files)
        if not alone or split_called(inside[0].rpartition("/")[2]):
            return top
        tables = any(_parent(file) == top and is_table(file) for file in tree.files)
        wraps = _children(tree, inside[0]) or any(
            _parent(file) == inside[0] and is_table(file) for file in tree.files
        )
        if tables or not wraps:
            return top
        top = inside[0]


def _split_folders(tree: FileTree, top: str) -> dict[str, str]:
    """Split → its folder; all is one split where none is called train."""
    named = [(split_called(path.rpartition("/")[2]), path) for path in _children(tree, top)]
    named = [(split, path) for split, path in named if split]
    if not any(split == "train" for split, _ in named):
        return {"train": top}
    names = [split for split, _ in named]
    for split in names:
        if names.count(split) > 1:
            both = [path.rpartition("/")[2] for name, path in named if name == split]
            raise SourceError(
                f"expected one folder for {split}, found {' and '.join(both)}; keep one"
            )
    return dict(named)


def _check_no_splits(tree: FileTree, top: str) -> None:
    """Raises SourceError where a few folders hold the same folders and no image beside them, as
    splits of other names do: taken for classes, they would teach nothing."""
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
    """What lies beside the folders of splits, each folder in one word."""
    beside: Counter[str] = Counter()
    problems = []
    for file in files:
        if any(_within(file, folder) for folder in splits.values()):
            continue
        name, *deeper = _parts(_below(file, top))
        if deeper:
            beside[name] += 1
        else:
            problems.append(DataIssue(where=file, why="not in the folder of a split"))
    for name, images in beside.items():
        why = f"not used, for it is not called train, validation or test (images: {images:,})"
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
        _check_no_empty_class(classes, tree)
    return labels


def _check_no_empty_class(classes: dict[str, int], tree: FileTree) -> None:
    for path, images in classes.items():
        if not images and any(classes.values()):
            raise SourceError(
                f"expected images in every class folder of {tree.name!r}, found none in "
                f"{path.rpartition('/')[2]!r}; add images or remove the folder"
            )


def _by_table(
    tree: FileTree, tables: list[str], column: str | None, problems: list[DataIssue]
) -> tuple[dict[str, str], str | None]:
    """(image → class, the column of labels). Raises SourceError."""
    labels: dict[str, str] = {}
    there = {_composed(file): file for file in tree.files if is_image(file)}
    for table in tables:
        rows, column, told = read_table(table, _data(tree, table), column)
        problems += told
        for number, name, label in rows:
            meant = _joined(_parent(table), name)
            file = there.get(_composed(meant or ""))
            why = ""
            if meant is None:
                why = f"{name[:80]!r} leaves the folder"
            elif file is None:
                why = f"{name[:80]!r} is no image that is there"
            elif label is None:
                why = "no label"
            elif labels.setdefault(file, label) != label:
                raise SourceError(
                    f"expected one label for {name[:80]!r} in {table!r}, found "
                    f"{labels[file]!r} and {label!r}; keep one"
                )
            if why:
                # an image that is there and finds no label is told and counted below
                problems.append(DataIssue(where=f"{table} row {number}", why=why, skipped=0))
    unnamed = sorted(set(there.values()) - labels.keys(), key=_parts)
    problems += [DataIssue(where=file, why="not in the table of labels") for file in unnamed]
    return labels, column


def _data(tree: FileTree, table: str) -> bytes:
    try:
        return tree.data(table)
    except OSError as error:
        raise SourceError(f"{table!r} cannot be read ({error.strerror}); check it") from None


def _composed(path: str) -> str:
    """An accent and its letter as one, for Macs name files with two and tables with one."""
    return unicodedata.normalize("NFC", path)


def _joined(folder: str, name: str) -> str | None:
    """The path that a table means, or None where it leads out of the table's folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or name[:1] in ("/", "\\") or re.match("[A-Za-z]:", name):
        return None
    return "/".join([folder, *parts] if folder else parts)


def _split(tree: FileTree, folder: str, labels: dict[str, str], classes: tuple[str, ...]) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    mine = [file for file in labels if _within(file, folder)]
    files = sorted(mine, key=lambda file: (label_of[labels[file]], _parts(file)))
    return Split(
        labels=np.array([label_of[labels[file]] for file in files], dtype=np.int64),
        names=tuple(files),
        read=lambda i: tree.read(files[i]),
    )


def _parts(file: str) -> list[str]:
    return file.split("/")


def _in_order(name: str) -> tuple:
    """Numbers by their size, before words."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 18 else (1, 0, name)


def folders_of(files: Iterable[str]) -> Iterator[str]:
    """Every folder that these files lie in."""
    for file in files:
        while file := _parent(file):
            yield file
