"""A user's own classes: photos added one by one to a folder of class folders."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from transfer.data.image import load_image
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
JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class CustomImages:
    """Class folders below `folder`, which need not exist yet. Nothing is held in memory."""

    folder: Path

    def counts(self) -> dict[str, int]:
        """Photos a class, in the order of the names."""
        return {path.name: len(_photos(path)) for path in self._classes()}

    def photos(self) -> Iterator[tuple[str, Path]]:
        """(class, file) of each photo, class by class."""
        return ((path.name, photo) for path in self._classes() for photo in _photos(path))

    def add_class(self, name: str) -> str:
        """Make an empty class; returns its name as stored. Raises SourceError."""
        name = _folder_name(name)
        known = [path.name for path in self._classes()]
        if name.casefold() in map(str.casefold, known):
            raise SourceError(f"the class {name!r} exists already; choose another name")
        if len(known) >= MAX_CLASSES:
            raise SourceError(f"expected at most {MAX_CLASSES} classes; remove one first")
        (self.folder / name).mkdir(parents=True)
        return name

    def remove_class(self, name: str) -> None:
        """With all its photos. Raises SourceError."""
        shutil.rmtree(self._class(name))

    def add(self, name: str, photo: Path) -> None:
        """Save an image file as JPEG in a class. Raises SourceError or ImageError."""
        target = self._class(name)
        if sum(self.counts().values()) >= MAX_PHOTOS:
            raise SourceError(f"expected at most {MAX_PHOTOS:,} photos; remove a class first")
        if photo.stat().st_size > MAX_PHOTO_BYTES:
            limit = f"{MAX_PHOTO_BYTES // 1_000_000} MB"
            raise ImageError(f"expected a photo of at most {limit}; make it smaller")
        data = _without_metadata(photo)
        number = 1 + max((int(path.stem) for path in _photos(target)), default=0)
        part = target / f".{number:05}"
        part.write_bytes(data)
        part.replace(target / f"{number:05}.jpg")

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
        return sorted(path for path in self.folder.glob("*") if path.is_dir())

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


def _without_metadata(photo: Path) -> bytes:
    """Any picture as an upright JPEG of nothing but its pixels. Raises ImageError."""
    load_image(photo).save(file := io.BytesIO(), format="JPEG", quality=92)
    return file.getvalue()


def _photos(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jpg"))


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
