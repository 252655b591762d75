"""One picture's bytes, and never more than `LIMITS` allows, whatever its file or archive holds."""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from transfer.errors import ImageError


def check_size(size: int) -> None:
    """Raises ImageError."""
    if size > LIMITS.image_bytes:
        raise ImageError(
            f"expected at most {LIMITS.image_bytes // 1_000_000} MB, found "
            f"{size // 1_000_000}; make the image smaller"
        )


def read_file(path: Path) -> bytes:
    """Raises ImageError, or OSError."""
    check_size(path.stat().st_size)
    return path.read_bytes()


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Safe from several threads, for the archive locks its file. Raises ImageError, BadZipFile, or
    what its file raises."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # the others unpack as much as they hold at once
        raise ImageError("this is packed in a way that is not read here; zip the folder anew")
    if member.flag_bits & 1:
        raise ImageError("this is locked with a password; zip the folder without one")
    check_size(member.file_size)
    try:
        with archive.open(member) as opened:
            # so much at a time is unpacked, whatever the member holds
            data = opened.read(member.file_size + 1)
    except (zlib.error, struct.error, EOFError, NotImplementedError):
        raise zipfile.BadZipFile from None
    if len(data) != member.file_size:
        raise zipfile.BadZipFile
    return data


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """What is read at most: of one picture its pixels and its bytes; of an archive how many files,
    how many folders within each other, how many bytes once unpacked, and how many times its own
    size."""

    pixels: int = 100_000_000
    image_bytes: int = 200_000_000
    archive_files: int = 200_000
    archive_depth: int = 32
    archive_bytes: int = 50_000_000_000
    archive_ratio: int = 200


LIMITS = ImageLimits()
