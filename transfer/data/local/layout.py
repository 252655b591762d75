"""Where in a tree of folders the splits and the classes are."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import basename, dirname

from transfer.data.dataset import DataIssue, listed
from transfer.data.file_names import is_image
from transfer.data.labels import class_name
from transfer.data.local.metadata import TABLES
from transfer.data.splits import named_like_splits, split_called, split_within
from transfer.errors import SourceError

MOST_SPLITS = 10  # as in cross-validation; more folders than that are classes


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The contents of one folder called `name`, as paths relative to it, with slashes.

    `read(file)` returns a file's path or its bytes.
    """

    name: str
    files: list[str]
    folders: list[str]
    read: Callable[[str], Path | bytes]

    @cached_property
    def _inside(self) -> dict[str, tuple[list[str], list[str]]]:
        """Folder → (folders, files) right below it."""
        inside = defaultdict(lambda: ([], []))
        for at, paths in enumerate((self.folders, self.files)):
            for path in paths:
                inside[dirname(path)][at].append(path)
        return dict(inside)

    @cached_property
    def with_images(self) -> set[str]:
        """The folders that hold images, at any depth."""
        found: set[str] = set()
        for folder in {dirname(file) for file in self.files if is_image(file)}:
            while folder and folder not in found:
                found.add(folder)
                folder = dirname(folder)
        return found

    def folders_in(self, folder: str) -> list[str]:
        """Those right below `folder`, which is empty or ends in a slash, as everywhere here."""
        return self._inside.get(folder.removesuffix("/"), ([], []))[0]

    def files_in(self, folder: str) -> list[str]:
        return self._inside.get(folder.removesuffix("/"), ([], []))[1]

    def tables_in(self, folder: str) -> list[str]:
        return list(filter(is_table, self.files_in(folder)))


def is_table(file: str) -> bool:
    return basename(file).lower() in TABLES


def find_splits(tree: FileTree) -> tuple[str, dict[str, str]]:
    """(the folder of the splits or classes, split → the folder of its classes).

    Single folders around either are passed through. Without folders of splits, everything is the
    training split. Raises SourceError.
    """
    top = _unwrapped(tree, "")
    found: dict[str, list[str]] = {}
    others = []
    for path in tree.folders_in(top):
        if split := split_called(basename(path)):
            found.setdefault(split, []).append(f"{path}/")
        elif path in tree.with_images:
            others.append(path)
    if not found or ("train" not in found and others):
        return top, {"train": top}
    for split, paths in found.items():
        if len(paths) > 1:
            names = " and ".join(basename(path.rstrip("/")) for path in paths)
            raise SourceError(f"expected one folder for {split}, found {names}; keep one")
    outer = {split: path for split, (path,) in found.items()}
    inner = [_unwrapped(tree, path, split) for split, path in outer.items()]
    classes = [tree.folders_in(folder) for folder in inner]
    # a split may hold one class only: that is no folder around classes
    known = {class_name(basename(path)) for paths in classes if len(paths) > 1 for path in paths}
    return top, {split: _unwrapped(tree, path, split, known) for split, path in outer.items()}


def _unwrapped(
    tree: FileTree, folder: str, split: str | None = None, classes: set[str] = frozenset()
) -> str:
    """The innermost of single folders within each other, down to one of `classes`, of another split
    than `split`, or of images."""
    while True:
        inside, files = tree.folders_in(folder), tree.files_in(folder)
        if len(inside) != 1 or any(is_image(file) or is_table(file) for file in files):
            return folder
        name, only = basename(inside[0]), f"{inside[0]}/"
        deeper = tree.folders_in(only) or tree.tables_in(only)
        # a folder of nothing but images is a class
        if class_name(name) in classes or split_called(name) not in (None, split) or not deeper:
            return folder
        folder = only


def check_class_folders(tree: FileTree, top: str, splits: dict[str, str]) -> list[DataIssue]:
    """Classes that are named like a split. Raises SourceError where folders are splits that are
    not used as such, or a split may be a class."""
    issues = []
    for folder in splits.values():
        inside = [path for path in tree.folders_in(folder) if path in tree.with_images]
        if folder != top and not inside:
            _check_no_class(tree, top, folder)
        _check_no_splits(tree, folder, inside, whole=folder == top)
        why = "taken as a class, though it is named like a split"
        issues += [DataIssue(path, why, 0) for path in inside if split_within(basename(path))[0]]
    return issues


def _check_no_class(tree: FileTree, top: str, split: str) -> None:
    """Raises SourceError for a folder called train beside classes: it may be another class."""
    others = [path for path in tree.folders_in(top) if path in tree.with_images]
    others = [basename(path) for path in others if not split_called(basename(path))]
    if others:
        name = basename(split.removesuffix("/"))
        raise SourceError(
            f"expected class folders in {name!r}, found images alone beside {listed(others)}; if "
            f"{name!r} is a class, give it another name, else move its images to {name}/CLASS"
        )


def _check_no_splits(tree: FileTree, folder: str, inside: list[str], *, whole: bool) -> None:
    """Raises SourceError where `inside`, the folders in `folder`, are splits or hold some."""
    below = (path.removeprefix(folder) for path in tree.with_images if path.startswith(folder))
    names = {name for path in below for name in path.split("/")[1:] if split_called(name)}
    if len(set(map(split_called, names))) > 1:
        raise SourceError(
            f"expected splits around the class folders in {tree.name!r}, found "
            f"{listed(sorted(names))} within them; move the images to train/CLASS and test/CLASS"
        )
    deep, mixed = {}, False
    for path in inside:
        base = _unwrapped(tree, f"{path}/", split_called(basename(path)))
        there = [one for one in tree.folders_in(base) if one in tree.with_images]
        inner = {class_name(basename(one)) for one in there}
        mixed = mixed or bool(inner and any(map(is_image, tree.files_in(base))))
        if len(inner) > 1:
            deep[basename(path)] = inner
    few = whole and len(inside) <= MOST_SPLITS
    shared = set.intersection(*deep.values()) if len(deep) > max(1, len(inside) - len(deep)) else ()
    alike = few and not mixed and len(shared) > 1
    found = named_like_splits(map(basename, inside)) or [
        name for name in deep if alike or split_called(name) or (few and split_within(name)[0])
    ]
    if found:
        same = f"the same folders ({listed(sorted(shared))}) in each of " if alike else ""
        raise SourceError(
            f"expected class folders in {tree.name!r}, found {same}{listed(sorted(found))}; "
            "name these train, validation and test if they are splits, or move the images up if "
            "they are classes"
        )
