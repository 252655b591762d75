"""Which files and folders hold images, and which are left there by programs for themselves."""

import re
from collections import Counter
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from posixpath import basename, dirname

from transfer.data.dataset import DataIssue

ENDINGS = frozenset(
    "jpg jpeg jpe jif jfif jfi mpo png apng gif webp bmp dib tif tiff ppm pgm pbm pnm "
    "heic heif hif avif jp2 tga".split()
)
# a photo saved from the web may have a size or a query after its ending: a.jpg_large, a.jpg?w=200
AFTER = r"(?:[_:-](?:large|medium|small|thumb|orig|\d+x\d+)|\?[^/]*)"
FROM_THE_WEB = re.compile(rf"\.(?:{'|'.join(sorted(ENDINGS))}){AFTER}$", re.IGNORECASE)
# names, in lower case, and the patterns of others
SYSTEM = frozenset(
    (
        *"__macosx .ds_store .spotlight-v100 .fseventsd .temporaryitems icon\r".split(" "),
        *("network trash folder", "temporary items", ".documentrevisions-v100"),
        *"desktop.ini $recycle.bin recycler recycled picasa.ini zbthumbnail.info".split(),
        *("system volume information", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle"),
        *"@recently-snapshot @__thumb lost+found .directory thumbnails .picasaoriginals".split(),
        *".xvpics .svn .hg .dvc .cache .ipynb_checkpoints __pycache__ .venv venv".split(),
        "node_modules",
    )
)
SYSTEM_PATTERNS = (
    "._* .apple* .trash* thumbs.db* ehthumbs*.db found.??? *zone.identifier *@syno* .@* .nfs* "
    ".thumb* _thumb* .git*"
).split()
OTHER_SYSTEM = re.compile("|".join(map(translate, SYSTEM_PATTERNS)))
RECORD, CHECKPOINT, JOBS, RUNS = "run.json", "checkpoint", ".jobs", "runs"  # of a training


def is_image(file: str) -> bool:
    """By its name."""
    _, dot, ending = file.rpartition(".")
    return bool(dot) and (ending.lower() in ENDINGS or FROM_THE_WEB.search(file) is not None)


def is_junk(name: str) -> bool:
    """What a system, a storage server or a tool for programmers writes for itself."""
    name = name.lower()
    return name in SYSTEM or OTHER_SYSTEM.match(name) is not None


def without_other_files(
    files: Iterable[str], folders: Iterable[str]
) -> tuple[list[str], list[str], list[DataIssue]]:
    """(files, folders, issues) without junk, what is hidden, and what trainings have written.

    Images that are left out so are an issue, one a folder, unless they are junk.
    """
    is_system = cache(is_junk)  # a folder's name stands in the paths of many files
    files, folders = (
        [path for path in paths if not any(map(is_system, path.split("/")))]
        for paths in (files, folders)
    )
    written = _written_by_trainings(files, folders)
    used, left_out = [], Counter()
    for file in files:
        if found := _left_out(file, written):
            left_out[found] += is_image(file)
        else:
            used.append(file)
    issues = [
        DataIssue(place, f"{why}, not used ({number:,} images)", number)
        for (place, why), number in left_out.items()
        if number
    ]
    return used, [folder for folder in folders if not _left_out(folder, written)], issues


def _written_by_trainings(files: list[str], folders: list[str]) -> set[str]:
    """Folders of runs, finished or not, and folders of such folders that hold no other image."""
    places = {dirname(file) for file in files if is_image(file)}
    with_images = {folder for place in places for folder in _upward(place)}
    written = {dirname(file) for file in files if basename(file) == RECORD}
    written |= {dirname(path) for path in folders if basename(path) == JOBS}
    unfinished = {dirname(path) for path in folders if basename(path) == CHECKPOINT}
    written |= unfinished - with_images
    others = (place for place in places if written.isdisjoint(_upward(place)))
    with_others = {folder for place in others for folder in _upward(place)}
    around = {folder for path in written for folder in _upward(path)}
    around |= {path for path in folders if basename(path) == RUNS}
    return written | (around - with_others)


def _left_out(path: str, written: set[str]) -> tuple[str, str] | None:
    """(the folder or file that is left out, why), or None."""
    for place in _upward(path):
        if place in written:
            return place, "written by a training"
        if basename(place).startswith("."):
            return place, "hidden"
    return None


def _upward(path: str) -> list[str]:
    """The path and the folders that it lies in, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
