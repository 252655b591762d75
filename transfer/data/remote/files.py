"""The files of a dataset, and a cell of its image column → the encoded image."""

import functools
import zipfile
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from transfer.data.file_names import is_junk
from transfer.data.limits import LIMITS, check_size, read_member
from transfer.data.splits import split_called
from transfer.errors import ImageError

ARCHIVE = "zip://"


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """The files of one revision of a dataset, in the local folder `root`.

    A cell may name any path or URL: what does not lie under `root` is never opened. A file in an
    archive is named `zip://NAME::ARCHIVE`, as `datasets` does it.
    """

    root: str

    def name(self, cell) -> str | None:
        """The image's file name in the dataset; None where the cell holds the image itself."""
        return None if _bytes(cell) else "/".join(self._names(cell)) or None

    def folder(self, cell) -> str | None:
        """The folder of the image's file, where it can be a class name."""
        names = self._names(cell) or [""]
        *_, folder, _ = folders = ["", *names[-1].split("/")]
        return (
            None if folder == "" or split_called(folder) or any(map(is_junk, folders)) else folder
        )

    def read(self, cell) -> bytes:
        """The encoded image of a cell: bytes or {"bytes", "path"}. Raises ImageError, or the
        Hub's own errors."""
        if data := _bytes(cell):
            return data
        if not _path(cell):
            raise ImageError("there is no image in this row")
        if not (names := self._names(cell)):
            raise ImageError("the row holds only a path, and its file is not in the dataset")
        name, *member = names
        try:
            if not member:
                return self.content(name)
            archive = _open_archive(self, name)
            return read_member(archive, archive.getinfo(*member))
        except (FileNotFoundError, KeyError):
            raise ImageError("its file is not in the dataset") from None
        except zipfile.BadZipFile:
            raise ImageError("its archive is damaged") from None

    def content(self, name: str) -> bytes:
        """Raises FileNotFoundError, or ImageError where it is too large."""
        path = Path(self.root + name)
        check_size(path.stat().st_size)
        return path.read_bytes()

    def open(self, name: str) -> BinaryIO:
        """Raises FileNotFoundError."""
        return Path(self.root + name).open("rb")

    def _names(self, cell) -> list[str]:
        """[file], or [archive, file in it], of the cell's path; empty for any path outside."""
        *archives, outermost = (_path(cell) or "").split("::")
        inside = outermost.startswith(self.root) and ".." not in outermost.split("/")
        if not inside or len(archives) > 1 or not all(hop.startswith(ARCHIVE) for hop in archives):
            return []
        return [outermost.removeprefix(self.root), *(hop.removeprefix(ARCHIVE) for hop in archives)]


@dataclass(frozen=True, kw_only=True)
class HubFiles(DatasetFiles):
    """The same, read from the Hub: `root` is hf://datasets/REPOSITORY@REVISION/."""

    repository: str
    revision: str
    token: str | None = field(repr=False)

    def content(self, name: str) -> bytes:
        """One request a file, where `HfFileSystem` takes four; one that is too large is cut off."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

        url = hf_hub_url(self.repository, name, repo_type="dataset", revision=self.revision)
        headers = build_hf_headers(token=self.token) | {"Range": f"bytes=0-{LIMITS.image_bytes}"}
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        response = http_backoff("GET", url, headers=headers, timeout=timeout)
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return b""  # an empty file has no first byte
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            raise FileNotFoundError(name) from None
        total = response.headers.get("Content-Range", "").rpartition("/")[2]  # bytes 0-9/TOTAL
        check_size(int(total) if total.isdecimal() else len(response.content))
        return response.content

    def open(self, name: str) -> BinaryIO:
        from huggingface_hub import HfFileSystem

        return HfFileSystem(token=self.token).open(self.root + name, "rb")


@functools.lru_cache(maxsize=8)
def _open_archive(files: DatasetFiles, name: str) -> zipfile.ZipFile:
    """Stays open, for reading its list of files takes long; safe for several threads."""
    return zipfile.ZipFile(files.open(name))


def _bytes(cell) -> bytes | None:
    return cell.get("bytes") if isinstance(cell, dict) else cell


def _path(cell) -> str | None:
    return cell.get("path") if isinstance(cell, dict) else None
