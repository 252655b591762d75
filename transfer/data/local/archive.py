"""A zip of class folders, read where it lies: nothing is unpacked, so nothing can be left behind.

What is hostile is refused before any of its contents is looked at.
"""

import hashlib
import re
import stat
import struct
import zipfile
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

from transfer.data.dataset import ImageDataset
from transfer.data.limits import LIMITS, read_member
from transfer.data.local.tree import FileTree, folders_of, is_image, is_junk, open_tree
from transfer.errors import ImageError, SourceError

ENTRY = b"PK\x01\x02"
LONGEST_END64 = 76
UTF_8 = 0x800
BYTES_AN_ENTRY = 512
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def open_archive(path: Path, label_column: str | None = None) -> ImageDataset:
    """As `open_folder` on what the zip holds. Raises SourceError."""
    members = {}
    try:
        _check_size(path)
        archive = zipfile.ZipFile(path)
        for member in archive.infolist():
            name = _checked_name(member, path)
            if name in members and not name.endswith("/"):
                raise _refused(path, f"two files called {name[:80]!r}")
            members[name] = member
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error, ValueError):
        raise SourceError(f"{path.name!r} is no zip, or a broken one; make it anew") from None
    except OSError as error:
        raise SourceError(f"{path.name!r} cannot be read ({error.strerror}); check it") from None
    _check_contents(list(members.values()), path)
    shown = {name: m for name, m in members.items() if not any(map(is_junk, name.split("/")))}
    files = sorted(name for name in shown if not name.endswith("/"))
    folders = {name.rstrip("/") for name in shown if name.endswith("/")}
    if not any(map(is_image, files)):
        _tell_what_is_there(files, path)
    read = partial(_read, archive, shown)
    tree = FileTree(
        name=path.name,
        files=tuple(files),
        folders=tuple(sorted(folders | set(folders_of(files)))),
        read=read,
        data=read,
    )
    return open_tree(tree, str(path), _revision(shown), label_column)


def _refused(path: Path, what: str) -> SourceError:
    return SourceError(
        f"expected a zip of images in {path.name!r}, found {what}; zip the folder anew"
    )


def _check_size(path: Path) -> None:
    """How many files are listed, counted before `zipfile` makes objects of them.

    The end of the file is found as `zipfile` finds it, so that both see the same listing, and what
    it claims is not believed: 1 entry may stand before a listing of millions.
    """
    with path.open("rb") as file:
        end = zipfile._EndRecData(file)
        if not end:
            raise zipfile.BadZipFile
        claimed, listing = end[zipfile._ECD_ENTRIES_TOTAL], end[zipfile._ECD_SIZE]
        most = LIMITS.archive_files
        if claimed <= most and listing <= most * BYTES_AN_ENTRY:
            file.seek(max(0, end[zipfile._ECD_LOCATION] - listing - LONGEST_END64))
            listed = file.read(listing + LONGEST_END64).count(ENTRY)
    if claimed > most or listing > most * BYTES_AN_ENTRY or listed > most:
        raise _refused(path, f"more than {most:,} files")


def _checked_name(member: zipfile.ZipInfo, path: Path) -> str:
    """The name with slashes; raises SourceError for one that leads elsewhere, and for links."""
    name = _decoded(member).replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise _refused(path, f"a file with an absolute path, {name[:80]!r}")
    if ".." in name.split("/"):
        raise _refused(path, f"a file that leaves the folder, {name[:80]!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refused(path, f"a link, {name[:80]!r}")
    if member.flag_bits & 1:
        raise SourceError(
            f"expected a zip without a password, found {path.name!r} locked; zip it without one"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > LIMITS.archive_depth:
        raise _refused(path, f"folders more than {LIMITS.archive_depth} deep within each other")
    return "/".join(parts) + "/" * name.endswith("/")


def _decoded(member: zipfile.ZipInfo) -> str:
    """The name, also where it is UTF-8 and nothing says so, as Macs write it."""
    if not member.flag_bits & UTF_8:
        with suppress(UnicodeError):
            return member.filename.encode("cp437").decode("utf-8")
    return member.filename


def _check_contents(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Raises SourceError for a bomb: too much in all, packed too tightly, or on top of itself."""
    total, packed = sum(member.file_size for member in members), path.stat().st_size
    if total > LIMITS.archive_bytes:
        raise _refused(path, f"more than {LIMITS.archive_bytes / 1e9:.0f} GB once unpacked")
    if total > LIMITS.archive_ratio * packed and total > LIMITS.image_bytes:
        raise _refused(path, f"a bomb: {packed / 1e6:.1f} MB that become {total / 1e6:,.0f} MB")
    members = sorted(members, key=lambda member: member.header_offset)
    for one, other in pairwise(members):
        if other.header_offset < one.header_offset + one.compress_size:
            raise _refused(path, "files that lie on top of each other")


def _tell_what_is_there(files: list[str], path: Path) -> None:
    if any(file.lower().endswith(ARCHIVE_SUFFIXES) for file in files):
        raise _refused(path, "archives within it and no image")
    if not files:
        raise _refused(path, "nothing")


def _read(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], file: str) -> bytes:
    try:
        return read_member(archive, members[file])
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError):
        raise ImageError("the zip is broken here; zip the folder anew") from None


def _revision(members: dict[str, zipfile.ZipInfo]) -> str:
    """A hash of every file's name, size and checksum."""
    digest = hashlib.sha256()
    for name in sorted(members):
        member = members[name]
        known = f"{name}\0{member.file_size}\0{member.CRC}\n"
        digest.update(known.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
