"""Limits on what is read: an image's bytes and pixels, an archive's size, whatever it claims."""

import struct
import zipfile
import zlib
from dataclasses import dataclass

from transfer.errors import ImageError


def check_size(size: int) -> None:
    """Raises ImageError."""
    if size > LIMITS.image_bytes:
        raise ImageError(
            f"expected at most {LIMITS.image_bytes // 1_000_000} MB, found "
            f"{size // 1_000_000}; make the image smaller"
        )


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Safe for several threads, for the archive locks its file. Raises ImageError, BadZipFile, or
    what the archive's file raises."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks other methods in one piece, whatever size is asked for
        raise ImageError("expected zip's usual compression, found another; zip the folder again")
    if member.flag_bits & 1:
        raise ImageError("this has a password; zip the folder without one")
    check_size(member.file_size)
    try:
        with archive.open(member) as opened:
            # no more is unpacked than this, whatever the member holds
            data = opened.read(member.file_size + 1)
    except (zlib.error, struct.error, EOFError, NotImplementedError):
        raise zipfile.BadZipFile from None
    if len(data) != member.file_size:
        raise zipfile.BadZipFile
    return data


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """The most that is read of one image or archive."""

    pixels: int = 100_000_000
    image_bytes: int = 200_000_000
    png_text_bytes: int = 32_000_000  # unpacked, of a PNG's comment or colour profile
    archive_files: int = 200_000
    archive_depth: int = 32  # nested folders
    archive_bytes: int = 50_000_000_000  # unpacked
    archive_ratio: int = 200  # unpacked bytes a packed byte


LIMITS = ImageLimits()
