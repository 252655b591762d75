"""A user's own classes: photos added one by one to a folder of class folders."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from transfer.data.image import Picture, load_image
from transfer.data.labels import class_name
from transfer.data.splits import split_called
from transfer.errors import ImageError, SourceError

MAX_CLASSES = 30
MAX_PHOTOS = 3_000
MAX_PHOTO_BYTES = 50_000_000
MAX_NAME = 60
REFUSED = set('/\\:*?"<>|') | {chr(code) for code in range(32)}  # in a class's name
RESERVED = re.compile("con|prn|aux|nul|conin\\$|conout\\$|(com|lpt)[0-9¹²³]", re.IGNORECASE)
FEWEST_CLASSES, FEWEST_PHOTOS = 2, 5
ORDER = ".order.json"  # the classes' names as they were made
JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class CustomImages:
    """Class folders below `folder`, which need not exist yet. Nothing is held in memory."""

    folder: Path

    @property
    def removed(self) -> Path:
        """What was removed last, CLASS/00001.jpg …, until something else is."""
        return self.folder.with_name(f".{self.folder.name}-removed")

    def by_class(self) -> dict[str, list[Path]]:
        """The photos of each class, oldest first; the class that was made first comes first."""
        return {path.name: _photos(path) for path in self._classes()}

    def counts(self) -> dict[str, int]:
        """Photos a class."""
        return {name: len(photos) for name, photos in self.by_class().items()}

    def photos(self) -> Iterator[tuple[str, Path]]:
        """(class, file) of each photo, class by class."""
        return ((name, photo) for name, of_class in self.by_class().items() for photo in of_class)

    def add_class(self, name: str) -> str:
        """Make an empty class; returns its name as stored. Raises SourceError."""
        known = [path.name for path in self._classes()]
        name = _new_name(name, known)
        if len(known) >= MAX_CLASSES:
            raise SourceError(f"expected at most {MAX_CLASSES} classes; remove one first")
        (self.folder / name).mkdir(parents=True)
        self._save_order([*known, name])
        return name

    def rename_class(self, name: str, new: str) -> str:
        """Returns the new name as stored. Raises SourceError."""
        folder = self._class(name)
        known = [path.name for path in self._classes()]
        new = _new_name(new, [other for other in known if other != name])
        folder.rename(self.folder / new)
        self._save_order([new if other == name else other for other in known])
        return new

    def remove_class(self, name: str) -> None:
        """With all its photos, until the next removal. Raises SourceError."""
        folder = self._class(name)
        self._empty_removed()
        folder.rename(self.removed / name)

    def remove_all(self) -> None:
        """All classes, until the next removal."""
        self._empty_removed()
        for folder in self._classes():
            folder.rename(self.removed / folder.name)

    def remove_photo(self, name: str, photo: str) -> None:
        """Remove one photo of a class, until the next removal. Raises SourceError."""
        folder = self._class(name)
        path = _photo(folder, photo)
        self._empty_removed()
        (self.removed / name).mkdir()
        path.rename(self.removed / name / photo)

    def move_photo(self, name: str, photo: str, new: str) -> None:
        """To another class. Raises SourceError."""
        folder, target = self._class(name), self._class(new)
        if folder != target:
            _photo(folder, photo).rename(_next(target))

    def undo(self) -> None:
        """Bring back what was removed last, if anything was. Raises SourceError."""
        for removed in self.removed.glob("*"):
            if removed.name not in self.counts():
                self.add_class(removed.name)
            target = self.folder / removed.name
            for photo in _photos(removed):
                new = target / photo.name
                photo.rename(_next(target) if new.exists() else new)
        shutil.rmtree(self.removed, ignore_errors=True)

    def _empty_removed(self) -> None:
        shutil.rmtree(self.removed, ignore_errors=True)
        self.removed.mkdir(parents=True)

    def add(self, name: str, photo: Path) -> None:
        """Save an image file as JPEG in a class. Raises SourceError or ImageError."""
        if photo.stat().st_size > MAX_PHOTO_BYTES:
            limit = f"{MAX_PHOTO_BYTES // 1_000_000} MB"
            raise ImageError(f"expected a photo of at most {limit}; make it smaller")
        self.add_picture(name, photo)

    def add_picture(self, name: str, picture: Picture) -> None:
        """The same for a picture in any form."""
        target = self._class(name)
        if sum(self.counts().values()) >= MAX_PHOTOS:
            raise SourceError(f"expected at most {MAX_PHOTOS:,} photos; remove a class first")
        data = _without_metadata(picture)
        path = _next(target)
        part = path.with_name(f".{path.stem}")
        part.write_bytes(data)
        part.replace(path)

    def check(self) -> None:
        """Raises SourceError unless there is enough to learn from."""
        counts = self.counts()
        if len(counts) < FEWEST_CLASSES:
            raise SourceError(
                f"expected at least {FEWEST_CLASSES} classes, found {len(counts)}; add a class"
            )
        name = min(counts, key=counts.get)
        if counts[name] < FEWEST_PHOTOS:
            raise SourceError(
                f"expected at least {FEWEST_PHOTOS} photos in each class, found {counts[name]} in "
                f"{name!r}; add photos there"
            )

    def write_zip(self, target: Path) -> Path:
        """All classes as a zip that can be trained on: CLASS/00001.jpg …"""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name, photo in self.photos():
                archive.write(photo, f"{name}/{photo.name}")
        return target

    def _classes(self) -> list[Path]:
        place = {name: at for at, name in enumerate(self._order())}
        found = [path for path in self.folder.glob("*") if path.is_dir()]
        return sorted(found, key=lambda path: (place.get(path.name, len(place)), path.name))

    def _order(self) -> list[str]:
        with suppress(OSError, ValueError):
            return json.loads((self.folder / ORDER).read_bytes())
        return []

    def _save_order(self, names: list[str]) -> None:
        part = self.folder / f"{ORDER}.part"
        part.write_text(json.dumps(names))
        part.replace(self.folder / ORDER)

    def _class(self, name: str) -> Path:
        if name in (path.name for path in self._classes()):
            return self.folder / name
        raise SourceError("expected one of your classes, found none of that name; add the class")


def bare_photo(photo: Path) -> bytes:
    """A photo of CustomImages as a JPEG that says nothing but its pixels: no place, time or camera.

    The file as it is, unless it was put there by something else. Raises ImageError.
    """
    data = photo.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            segments = {name for name, _ in image.applist}
    except Exception:  # Pillow's decoders raise errors of many kinds; load_image explains them
        return _without_metadata(photo)
    # a phone may append a film, which knows the place too
    bare = segments <= {"APP0"} and data.endswith(JPEG_END)
    return data if bare else _without_metadata(photo)


def _without_metadata(photo: Picture) -> bytes:
    """Any picture as an upright JPEG of nothing but its pixels. Raises ImageError."""
    load_image(photo).save(file := io.BytesIO(), format="JPEG", quality=92)
    return file.getvalue()


def _photos(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jpg"))


def _photo(folder: Path, photo: str) -> Path:
    """Raises SourceError where the class has no such photo."""
    if photo not in (path.name for path in _photos(folder)):
        raise SourceError("expected a photo of this class; reload the page")
    return folder / photo


def _next(folder: Path) -> Path:
    number = 1 + max((int(path.stem) for path in _photos(folder)), default=0)
    return folder / f"{number:05}.jpg"


def _new_name(name: str, known: list[str]) -> str:
    """As a folder name, not yet among those known. Raises SourceError."""
    name = _folder_name(name)
    if name.casefold() in map(str.casefold, known):
        raise SourceError(f"the class {name!r} exists already; choose another name")
    return name


def _folder_name(name: str) -> str:
    """A class name that every system accepts as a folder name. Raises SourceError."""
    plain = class_name(str(name or ""))
    if not 1 <= len(plain) <= MAX_NAME or plain != plain.strip(".") or REFUSED & set(plain):
        raise SourceError(
            f"expected a class name of 1 to {MAX_NAME} letters, without a dot at its start or end "
            'and without / \\ : * ? " < > |; choose another'
        )
    if RESERVED.fullmatch(plain.partition(".")[0].strip()):
        raise SourceError(f"Windows cannot have a folder called {plain!r}; choose another name")
    if split_called(plain):
        raise SourceError(f"{plain!r} is the name of a split, not of a class; choose another")
    return plain
