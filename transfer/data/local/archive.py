"""A zip of class folders, read in place: nothing is unpacked to disk.

A hostile one (bombs, links, paths that lead out) is refused before any of its contents is read.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from posixpath import dirname

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.file_names import is_image, without_other_files
from transfer.data.limits import LIMITS, read_member
from transfer.data.local.layout import FileTree
from transfer.data.local.tree import open_tree, revision_of
from transfer.errors import ImageError, SourceError

ENTRY = b"PK\x01\x02"  # begins each entry of the zip's directory
LONGEST_END64 = 76  # bytes: zip64's end record and its locator
UTF_8 = 0x800  # flag: the name is UTF-8
UNICODE_PATH = 0x7075  # extra field: version 1, CRC of the name that it replaces, name in UTF-8
DOS_AND_WINDOWS = (0, 10, 11, 14)  # systems that may separate folders by backslashes
BYTES_AN_ENTRY = 512  # of the directory, on average at most
OTHERS = {
    "a gzip (tar.gz)": b"\x1f\x8b",
    "a bzip2": b"BZh",
    "an xz": b"\xfd7zXZ",
    "a 7z": b"7z\xbc\xaf",
    "a rar": b"Rar!",
    "a zstd": b"\x28\xb5\x2f\xfd",
}
TAR_AT, LONGEST_SIGNATURE = 257, 262
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def open_archive(path: Path, label_column: str | None = None) -> ImageDataset:
    """As `open_folder` on the zip's contents. Raises SourceError."""
    tree, revision, problems = archive_tree(path)
    return open_tree(tree, str(path), revision, label_column, problems)


def archive_tree(path: Path) -> tuple[FileTree, str, list[DataIssue]]:
    """(what is in the zip, its revision, what is left out). Raises SourceError."""
    members, problems = {}, []
    try:
        _check_size(path)
        archive = zipfile.ZipFile(path)
        for member, decoded in _decoded(archive.infolist(), path, problems):
            name = _checked_name(member, decoded, path)
            if name in members and not name.endswith("/"):
                raise _refused(path, f"two files called {name[:80]!r}")
            members[name] = member
    except UnicodeDecodeError:
        raise _refused(path, "file names that are not the UTF-8 that they claim to be") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, struct.error, ValueError):
        _check_is_no_other(path)
        raise SourceError(f"{path.name!r} is not a zip, or is damaged; create it again") from None
    _check_contents(list(members.values()), path)
    folders = {name.rstrip("/") for name in members if name.endswith("/")}
    for file in members:
        while file := dirname(file):
            folders.add(file)
    files = sorted(name for name in members if not name.endswith("/"))
    files, folders, left_out = without_other_files(files, sorted(folders))
    if not files:
        raise _refused(path, "nothing")
    if not any(map(is_image, files)) and any(f.lower().endswith(ARCHIVE_SUFFIXES) for f in files):
        raise _refused(path, "archives within it and no image")
    read = partial(_read, archive, members)
    tree = FileTree(name=path.name, files=files, folders=folders, read=read)
    used = {*files, *folders}
    found = ((name, m) for name, m in sorted(members.items()) if name.rstrip("/") in used)
    revision = revision_of((name, m.file_size, m.CRC) for name, m in found)
    return tree, revision, problems + left_out


def _check_is_no_other(path: Path) -> None:
    """Raises SourceError for a file of another kind, whatever its name says."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(LONGEST_SIGNATURE)
        kinds = [kind for kind, signature in OTHERS.items() if start.startswith(signature)]
        if kinds or start[TAR_AT:] == b"ustar":
            found = kinds[0] if kinds else "a tar"
            raise SourceError(
                f"expected a folder or a zip, found {found} archive in {path.name!r}; unpack it"
            )
    if path.suffix.lower() != ".zip":
        raise SourceError(f"expected a folder of class folders, found the file {path.name!r}")


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


def _checked_name(member: zipfile.ZipInfo, name: str, path: Path) -> str:
    """The name with slashes. Raises SourceError for a link, and a path that leads out."""
    anywhere = name.replace("\\", "/")
    if "/" not in name and member.create_system in DOS_AND_WINDOWS:
        name = anywhere
    if anywhere.startswith("/") or re.match("[A-Za-z]:", name) or ".." in anywhere.split("/"):
        raise _refused(path, f"a path out of the folder, {name[:80]!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refused(path, f"a link, {name[:80]!r}")
    if member.flag_bits & 1:
        raise _refused(path, "a password")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > LIMITS.archive_depth:
        raise _refused(path, f"folders nested more than {LIMITS.archive_depth} deep")
    return "/".join(parts) + "/" * name.endswith("/")


def _decoded(
    members: list[zipfile.ZipInfo], path: Path, problems: list[DataIssue]
) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Each member with its name. Names that do not say their code page are UTF-8, as macOS writes
    them, if all of them can be; else zip's own code page, which is reported."""
    names, encoding = [_unicode_name(member) for member in members], "utf-8"
    raw = [_raw_name(m) for m, name in zip(members, names, strict=True) if name is None]
    try:
        b"/".join(raw).decode()
    except UnicodeDecodeError:
        encoding = "cp437"
        odd = [name.decode(encoding) for name in raw if not name.isascii()]
        why = (
            f"{len(odd):,} names in another code page, read as {odd[0][:40]!r}; zip with UTF-8 "
            "names, or give the folder"
        )
        problems.append(DataIssue(path.name, why, skipped=0))
    for member, name in zip(members, names, strict=True):
        yield member, _raw_name(member).decode(encoding) if name is None else name


def _raw_name(member: zipfile.ZipInfo) -> bytes:
    """`zipfile` decodes what is not marked as UTF-8 by cp437, which maps each byte."""
    return member.orig_filename.partition("\0")[0].encode("cp437")


def _unicode_name(member: zipfile.ZipInfo) -> str | None:
    """The name that is marked as UTF-8: by the flag, or by the field that Info-ZIP and WinRAR
    write beside a name in another code page."""
    if member.flag_bits & UTF_8:
        return member.orig_filename.partition("\0")[0]
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == UNICODE_PATH and size > 5:
            version, replaced = struct.unpack_from("<BL", extra, 4)
            if version == 1 and replaced == zlib.crc32(_raw_name(member)):
                with suppress(UnicodeDecodeError):
                    return extra[9 : 4 + size].decode()
        extra = extra[4 + size :]
    return None


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
