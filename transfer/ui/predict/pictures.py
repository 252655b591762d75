"""The pictures that a visitor asks about: files, a drawing, what the camera sees."""

import base64
import binascii
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from transfer.data.image import Picture, load_image
from transfer.data.local.digits import as_digit
from transfer.errors import ImageError

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer

MOST_CHARACTERS = 2_000_000  # of a picture that the page sends, in base64
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


def files(paths: list[str] | None) -> list[Asked]:
    return [Asked(Path(path).name, Path(path)) for path in paths or []]


def drawing(posted: object) -> list[Asked]:
    """What the page's canvas posts; none once it is cleared. Raises ImageError."""
    return [Asked("your drawing", load_image(_posted(posted, PNG)))] if posted else []


def photo(posted: object) -> list[Asked]:
    """What the page's camera posts. Raises ImageError."""
    return [Asked("your picture", _posted(posted, JPEG))] if posted else []


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
