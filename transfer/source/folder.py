"""A folder of class folders, or of train/ validation/ test/ that hold class folders."""

import hashlib
import os
from pathlib import Path

import numpy as np

from transfer.errors import SourceError
from transfer.source.labelled import LabelledImages, Problem, Split
from transfer.source.split import split_called

IMAGE_SUFFIXES = frozenset(
    f".{name}" for name in "jpg jpeg jfif png gif webp bmp tif tiff ppm pgm heic avif".split(" ")
)


def open_folder(folder: Path) -> LabelledImages:
    """Class names are the folders' names, sorted. Raises SourceError."""
    if not folder.is_dir():
        raise SourceError(f"expected a folder of class folders, found the file {folder.name!r}")
    problems: list[Problem] = []
    listing = {
        split: _classes(parent, folder, problems) for split, parent in _split_folders(folder)
    }
    classes = tuple(sorted({name for found in listing.values() for name in found}))
    if not classes:
        raise SourceError(
            f"expected class folders with images in {folder.name!r} (CLASS/photo.jpg, or "
            "train/CLASS/photo.jpg), found none; put each class's images into a folder of its name"
        )
    _check_no_empty_class(listing, folder)
    return LabelledImages(
        source=str(folder),
        revision=_revision(folder, listing),
        classes=classes,
        splits={name: _split(found, classes, folder) for name, found in listing.items()},
        problems=tuple(problems),
    )


def _split_folders(folder: Path) -> list[tuple[str, Path]]:
    named = [(split_called(child.name), child) for child in _folders(folder)]
    splits = [(split, child) for split, child in named if split]
    if not any(split == "train" for split, _ in splits):
        return [("train", folder)]
    names = [split for split, _ in splits]
    for split in names:
        if names.count(split) > 1:
            twice = " and ".join(child.name for name, child in splits if name == split)
            raise SourceError(f"expected one folder for {split}, found {twice}; keep one")
    return splits


def _folders(folder: Path) -> list[Path]:
    try:
        children = sorted(folder.iterdir())
    except PermissionError:
        raise SourceError(
            f"the folder {folder.name!r} may not be read; check its permissions"
        ) from None
    hidden = ("__MACOSX",)
    return [
        c for c in children if c.is_dir() and not c.name.startswith(".") and c.name not in hidden
    ]


def _classes(parent: Path, top: Path, problems: list[Problem]) -> dict[str, list[Path]]:
    """Class name → its image files, sorted; files that are no images are told as problems."""
    root = top.resolve()
    classes: dict[str, list[Path]] = {}
    for class_folder in _folders(parent):
        files = classes.setdefault(class_folder.name, [])
        for path in sorted(class_folder.rglob("*")):
            if path.is_dir() or path.name.startswith("."):
                continue
            where = path.relative_to(top).as_posix()
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                problems.append(Problem(where=where, why="not named as an image"))
            elif not path.is_file():
                problems.append(Problem(where=where, why="not a file, or a link to nothing"))
            elif not path.resolve().is_relative_to(root):
                problems.append(Problem(where=where, why="a link that leaves the folder"))
            else:
                files.append(path)
    return classes


def _check_no_empty_class(listing: dict[str, dict[str, list[Path]]], folder: Path) -> None:
    for found in listing.values():
        for name, files in found.items():
            if not files:
                raise SourceError(
                    f"expected images in every class folder of {folder.name!r}, found none in "
                    f"{name!r}; add images or remove the folder"
                )


def _split(found: dict[str, list[Path]], classes: tuple[str, ...], top: Path) -> Split:
    paths = [path for name in classes for path in found.get(name, [])]
    labels = [label for label, name in enumerate(classes) for _ in found.get(name, [])]
    return Split(
        labels=np.array(labels, dtype=np.int64),
        names=tuple(path.relative_to(top).as_posix() for path in paths),
        read=lambda i: paths[i],
    )


def _revision(folder: Path, listing: dict[str, dict[str, list[Path]]]) -> str:
    """A hash of every file's name, size and time of change: it changes when the images do."""
    digest = hashlib.sha256()
    for found in listing.values():
        for path in (path for files in found.values() for path in files):
            stat = path.stat()
            name = os.fsencode(path.relative_to(folder))  # a name need not be Unicode
            digest.update(name + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
