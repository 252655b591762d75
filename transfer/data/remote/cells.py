"""A cell of an image column → the encoded image, from the data set's own files alone."""

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from transfer.data.limits import LIMITS, check_size, read_file, read_member
from transfer.data.splits import split_called
from transfer.errors import ImageError

ARCHIVE = "zip://"


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of one revision of a data set, in the folder `root` of this disk.

    A row may name any path or address: what does not lie under `root` is never opened. A file in an
    archive is called `zip://NAME::ARCHIVE`.
    """

    root: str

    def holds(self, path: str) -> bool:
        *archives, outermost = path.split("::")
        inside = outermost.startswith(self.root) and ".." not in outermost.split("/")
        return inside and len(archives) < 2 and all(hop.startswith(ARCHIVE) for hop in archives)

    def name(self, cell) -> str | None:
        """The image's file as it is called in the data set, or None where the row holds it."""
        path = _path(cell)
        if _bytes(cell) or not path or not self.holds(path):
            return None
        return "/".join(self._names(path))

    def folder(self, cell) -> str | None:
        """The folder that the image's file lies in, where that can be its class."""
        path = _path(cell)
        if not path or not self.holds(path):
            return None
        *_, folder, _ = ["", *self._names(path)[-1].split("/")]
        return None if folder == "" or split_called(folder) else folder

    def read(self, cell) -> bytes:
        """The encoded image, of bytes or {"bytes", "path"}. Raises ImageError, or the Hub's own."""
        if data := _bytes(cell):
            return data
        path = _path(cell)
        if not path:
            raise ImageError("there is no image in this row")
        if not self.holds(path):
            raise ImageError("only a path stands here, and its file is not in the data set")
        name, *inner = self._names(path)
        try:
            return self._member(name, *inner) if inner else self.content(name)
        except (FileNotFoundError, KeyError):
            raise ImageError("its file is not in the data set") from None
        except zipfile.BadZipFile:
            raise ImageError("its archive is damaged") from None

    def content(self, name: str) -> bytes:
        """Raises FileNotFoundError, or ImageError where it is too large."""
        return read_file(Path(self.root + name))

    def open(self, name: str) -> BinaryIO:
        """Raises FileNotFoundError."""
        return Path(self.root + name).open("rb")

    def _member(self, archive: str, name: str) -> bytes:
        opened = _archive(self, archive)
        return read_member(opened, opened.getinfo(name))

    def _names(self, path: str) -> list[str]:
        """The file, or the archive and the file in it."""
        *archives, outermost = path.split("::")
        return [outermost.removeprefix(self.root), *(hop.removeprefix(ARCHIVE) for hop in archives)]


@dataclass(frozen=True, kw_only=True)
class HubFiles(Files):
    """The same on the Hub: `root` is hf://datasets/REPOSITORY@REVISION/."""

    repository: str
    revision: str
    token: str | None = field(repr=False)

    def content(self, name: str) -> bytes:
        """In one request, where `HfFileSystem` takes four; of what is too large only the start."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

        where = {"repo_type": "dataset", "revision": self.revision}
        headers = build_hf_headers(token=self.token) | {"Range": f"bytes=0-{LIMITS.image_bytes}"}
        response = http_backoff(
            "GET",
            hf_hub_url(self.repository, name, **where),
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return b""  # an empty file has no first byte
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            raise FileNotFoundError(name) from None
        check_size(_whole_size(response.headers, len(response.content)))
        return response.content

    def open(self, name: str) -> BinaryIO:
        from huggingface_hub import HfFileSystem

        return HfFileSystem(token=self.token).open(self.root + name, "rb")


def _whole_size(headers: Mapping[str, str], received: int) -> int:
    """The file's own size, where a part of it came."""
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else received


@functools.lru_cache(maxsize=8)
def _archive(files: Files, name: str) -> zipfile.ZipFile:
    """Left open, for its list of files is long; several threads may read from it."""
    return zipfile.ZipFile(files.open(name))


def _bytes(cell) -> bytes | None:
    return cell.get("bytes") if isinstance(cell, dict) else cell


def _path(cell) -> str | None:
    return cell.get("path") if isinstance(cell, dict) else None
