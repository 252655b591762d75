"""The pictures that a visitor asks about: files, a drawing, what the camera sees."""

import base64
import binascii
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from transfer.data.image import Picture, load_image
from transfer.data.local.digits import as_digit
from transfer.errors import ImageError

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer

MOST_CHARACTERS = 2_000_000  # of a picture that the page sends, in base64
MOST_PIXELS = 1_024  # of a side of a drawing
PNG, JPEG = ("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff")


@dataclass(frozen=True)
class Asked:
    """A picture, and the last answer about it or why it could not be read."""

    name: str
    picture: Picture  # a PIL image only if it is a drawing
    answer: "Answer | None" = None
    error: str = ""

    def digit(self) -> "Asked":
        """A drawing in the form of the digits, uint8 (8, 8); others as they are."""
        return replace(self, picture=as_digit(self.picture)) if self.drawn else self

    @property
    def drawn(self) -> bool:
        return isinstance(self.picture, Image.Image)


class Question(NamedTuple):
    """Pictures that are asked about, and what the page's fields show of them."""

    asked: list[Asked]
    files: list[str] | None = None
    drawing: str = ""

    def existing(self) -> "Question":
        """Without the files that have expired."""
        asked = [each for each in self.asked if _exists(each.picture)]
        files = [path for path in self.files or [] if _exists(Path(path))]
        return self._replace(asked=asked, files=files)


def _exists(picture: Picture) -> bool:
    return not isinstance(picture, Path) or picture.is_file()


def files(paths: list[str] | None) -> Question:
    return Question([Asked(Path(path).name, Path(path)) for path in paths or []], files=paths)


def drawing(posted: object) -> Question:
    """What the page's canvas posts; none once it is cleared. Raises ImageError."""
    if not posted:
        return Question([])
    image = load_image(_posted(posted, PNG))
    image.thumbnail((MOST_PIXELS, MOST_PIXELS))  # the page's is smaller
    return Question([Asked("your drawing", image)], drawing=posted)


def photo(posted: object) -> Question | None:
    """What the page's camera posts; none once its tab was left. Raises ImageError."""
    return Question([Asked("your picture", _posted(posted, JPEG))]) if posted else None


def _posted(posted: object, kind: tuple[str, bytes]) -> bytes:
    """The file in a `data:` URL, if it is small and of that kind."""
    name, begins = kind
    start = f"data:image/{name};base64,"
    if isinstance(posted, str) and posted.startswith(start) and len(posted) <= MOST_CHARACTERS:
        try:
            file = base64.b64decode(posted[len(start) :], validate=True)
        except (binascii.Error, ValueError):
            file = b""
        if file.startswith(begins):
            return file
    raise ImageError(
        f"expected a {name.upper()} picture of less than {MOST_CHARACTERS * 3 / 4e6} MB, found "
        "something else; reload the page"
    )
