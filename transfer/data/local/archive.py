"""A zip of class folders, read in place: nothing is unpacked to disk.

A hostile one (bombs, links, paths that lead out) is refused before any of its contents is read.
"""

import re
import stat
import struct
import zipfile
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from posixpath import dirname

from transfer.data.dataset import ImageDataset
from transfer.data.file_names import is_image, without_other_files
from transfer.data.limits import LIMITS, read_member
from transfer.data.local.layout import FileTree
from transfer.data.local.tree import open_tree, revision_of
from transfer.errors import ImageError, SourceError

ENTRY = b"PK\x01\x02"  # begins each entry of the zip's directory
LONGEST_END64 = 76  # bytes: zip64's end record and its locator
UTF_8 = 0x800  # flag: the name is UTF-8
BYTES_AN_ENTRY = 512  # of the directory, on average at most
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def open_archive(path: Path, label_column: str | None = None) -> ImageDataset:
    """As `open_folder` on the zip's contents. Raises SourceError."""
    members = {}
    try:
        _check_size(path)
        archive = zipfile.ZipFile(path)
        for member in archive.infolist():
            name = _checked_name(member, path)
            if name in members and not name.endswith("/"):
                raise _refused(path, f"two files called {name[:80]!r}")
            members[name] = member
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, struct.error, ValueError):
        raise SourceError(f"{path.name!r} is not a zip, or is damaged; create it again") from None
    _check_contents(list(members.values()), path)
    folders = {name.rstrip("/") for name in members if name.endswith("/")}
    for file in members:
        while file := dirname(file):
            folders.add(file)
    files = sorted(name for name in members if not name.endswith("/"))
    files, folders, problems = without_other_files(files, sorted(folders))
    if not files:
        raise _refused(path, "nothing")
    if not any(map(is_image, files)) and any(f.lower().endswith(ARCHIVE_SUFFIXES) for f in files):
        raise _refused(path, "archives within it and no image")
    read = partial(_read, archive, members)
    tree = FileTree(name=path.name, files=files, folders=folders, read=read)
    kept = {*files, *folders}
    used = ((name, m) for name, m in sorted(members.items()) if name.rstrip("/") in kept)
    revision = revision_of((name, m.file_size, m.CRC) for name, m in used)
    return open_tree(tree, str(path), revision, label_column, problems)


def _refused(path: Path, what: str) -> SourceError:
    return SourceError(
        f"expected a zip of images in {path.name!r}, found {what}; zip the folder again"
    )


def _check_size(path: Path) -> None:
    """Counts the listed files before `zipfile` makes an object of each.

    The end record is found by zipfile's own function, so that both see the same directory. Its
    number of entries is not trusted: a record of 1 entry may precede a directory of millions.
    """
    with path.open("rb") as file:
        end = zipfile._EndRecData(file)
        if not end:
            raise zipfile.BadZipFile
        most, listing = LIMITS.archive_files, end[zipfile._ECD_SIZE]
        fits = end[zipfile._ECD_ENTRIES_TOTAL] <= most and listing <= most * BYTES_AN_ENTRY
        if fits:
            file.seek(max(0, end[zipfile._ECD_LOCATION] - listing - LONGEST_END64))
            fits = file.read(listing + LONGEST_END64).count(ENTRY) <= most
    if not fits:
        raise _refused(path, f"more than {most:,} files")


def _checked_name(member: zipfile.ZipInfo, path: Path) -> str:
    """The name with slashes. Raises SourceError for a link, and a path that leads out."""
    name = _decoded(member).replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        raise _refused(path, f"a path out of the folder, {name[:80]!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refused(path, f"a link, {name[:80]!r}")
    if member.flag_bits & 1:
        raise _refused(path, "a password")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > LIMITS.archive_depth:
        raise _refused(path, f"folders nested more than {LIMITS.archive_depth} deep")
    return "/".join(parts) + "/" * name.endswith("/")


def _decoded(member: zipfile.ZipInfo) -> str:
    """The name; macOS writes UTF-8 without setting the flag for it."""
    if not member.flag_bits & UTF_8:
        with suppress(UnicodeError):
            return member.filename.encode("cp437").decode("utf-8")
    return member.filename


def _check_contents(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Raises SourceError for a zip bomb: too large, packed too tightly, or overlapping files."""
    total, packed = sum(member.file_size for member in members), path.stat().st_size
    if total > LIMITS.archive_bytes:
        raise _refused(path, f"more than {LIMITS.archive_bytes / 1e9:.0f} GB once unpacked")
    if total > LIMITS.archive_ratio * packed and total > LIMITS.image_bytes:
        raise _refused(path, f"a zip bomb: {packed:,} bytes that unpack to {total:,}")
    members = sorted(members, key=lambda member: member.header_offset)
    for one, other in pairwise(members):
        if other.header_offset < one.header_offset + one.compress_size:
            raise _refused(path, "files that overlap")


def _read(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], file: str) -> bytes:
    try:
        return read_member(archive, members[file])
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError):
        raise ImageError("the zip is damaged here; zip the folder again") from None
