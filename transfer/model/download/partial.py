"""Chosen tensors of a safetensors file on the Hub, by range requests, kept in our own cache.

The file's header says where its tensors stand, so a body's 59 MB of a 553 MB file are enough. They
become a safetensors file of their own, named by its sha256; small records beside it say of which
repository, file, prefix and branch, commit or content it is.
"""

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from transfer import hub
from transfer.cache.paths import cache_errors, cache_folder, private_folder
from transfer.errors import CacheError, WeightsError
from transfer.events import BodyProgress
from transfer.model.download.range_requests import Attempts, NoRanges, RemoteFile, find_file, lost
from transfer.model.download.resumable_file import PartFile
from transfer.model.download.safetensors_header import (
    LENGTH_BYTES,
    Layout,
    LayoutError,
    chosen,
    header_length,
)

FOLDER = "bodies/hub"
FIRST_BYTES = 4096
LEAST_PIECE_BYTES, FIRST_PIECE_BYTES, MOST_PIECE_BYTES = 1 << 16, 1 << 20, 1 << 25
QUICK_SECONDS, SLOW_SECONDS = 2.0, 6.0
SHOW_SECONDS = 0.5
MOST_RANGES = 16
TURN_SECONDS = 0.25


@dataclass(frozen=True)
class _Wanted:
    """`version` is a branch, a commit, or the file's etag."""

    repository: str
    filename: str
    version: str
    prefix: str

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(astuple(self)).encode()).hexdigest()[:32]

    @property
    def record(self) -> Path:
        return cache_folder() / FOLDER / f"{self.key}.json"


def fetching_tensors(
    repository: str, filename: str, revision: str | None, prefix: str
) -> Iterator[BodyProgress]:
    """Fetch the tensors whose names begin with `prefix`; returns (safetensors file, commit).

    Yields how far it is about twice a second. Whoever breaks off, or is killed, leaves what has
    come to the next; of several processes one fetches and the others wait.
    Raises NoRanges, WeightsError or CacheError.
    """
    wanted = _Wanted(repository, filename, _version(revision), prefix)
    try:
        remote = find_file(repository, filename, wanted.version)
        of_content = replace(wanted, version=remote.etag)
        path = _kept(of_content)
        if path is None:
            path = yield from _download(remote, of_content)
    except (NoRanges, CacheError):
        raise
    except Exception as error:
        raise hub.explain(error, "model", repository, WeightsError) from None
    # by branch, so that it is found without the Hub; by commit, as runs name it
    for version in {wanted.version, remote.commit}:
        _remember(replace(wanted, version=version), remote.commit, path)
    return path, remote.commit


def kept_tensors(
    repository: str, filename: str, revision: str | None, prefix: str
) -> tuple[Path, str] | None:
    """(safetensors file, commit) if it was fetched before and is what it was; asks nobody."""
    wanted = _Wanted(repository, filename, _version(revision), prefix)
    path = _kept(wanted)
    return path and (path, _read(wanted.record)["commit"])


def _version(revision: str | None) -> str:
    from huggingface_hub import constants

    return revision or constants.DEFAULT_REVISION


def _read(record: Path) -> dict[str, str]:
    """Nothing where there is no record or it was damaged."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("commit", "sha256")}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _kept(wanted: _Wanted) -> Path | None:
    """The file that the record names, if it still hashes to its own name."""
    if not (known := _read(wanted.record)):
        return None
    path = _named(known["sha256"])
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
    return path if sha256 == known["sha256"] else None


def _named(sha256: str) -> Path:
    return cache_folder() / FOLDER / f"{sha256}.safetensors"


def _remember(wanted: _Wanted, commit: str, path: Path) -> None:
    known = vars(wanted) | {"commit": commit, "sha256": path.stem}
    part = wanted.record.with_suffix(f".{secrets.token_hex(4)}.part")
    with cache_errors():
        part.write_text(json.dumps(known, indent=1), encoding="utf-8")
        part.replace(wanted.record)


def _download(remote: RemoteFile, wanted: _Wanted) -> Iterator[BodyProgress]:
    """Fetch what is missing, one process at a time; returns the file."""
    layout = _layout(remote, wanted.prefix)
    folder = private_folder(FOLDER)
    path = folder / f"{wanted.key}.part"
    lock = FileLock(folder / f"{wanted.key}.lock", thread_local=False)
    yield from _take_turn(lock, path, layout)
    try:
        if kept := _kept(wanted):  # by whoever was before us
            return kept
        with PartFile(path, layout.header) as part:
            _check_room(folder, layout.data_bytes - part.come)
            yield from _fill(part, remote, layout)
            kept = _named(part.sha256)
            part.finish(kept)
        _remember(wanted, remote.commit, kept)
        return kept
    finally:
        lock.release()


def _take_turn(lock: FileLock, path: Path, layout: Layout) -> Iterator[BodyProgress]:
    """Wait for whoever fetches it already, and show how far that is."""
    while True:
        try:
            lock.acquire(timeout=TURN_SECONDS)
            return
        except Timeout:
            yield _progress(max(0, _size(path) - len(layout.header)), layout)


def _progress(come: int, layout: Layout) -> BodyProgress:
    return BodyProgress(done_bytes=come, total_bytes=layout.data_bytes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not begun yet, or done by now
        return 0


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CacheError(
            f"expected room for {needed / 1e6:.0f} MB of weights, found {free / 1e6:.0f} MB; free "
            "some disk, or set TRANSFER_CACHE to another place"
        )


def _layout(remote: RemoteFile, prefix: str) -> Layout:
    """Read the header, and trust nothing in it. Raises WeightsError, NoRanges."""
    try:
        first = remote.read(0, min(FIRST_BYTES, remote.bytes))
        end = LENGTH_BYTES + header_length(first, remote.bytes)
        if end > len(first):
            first += remote.read(len(first), end)
        layout = chosen(first[LENGTH_BYTES:end], remote.bytes, prefix)
    except LayoutError as error:
        raise WeightsError(
            f"expected a safetensors file with tensors {prefix}… in {remote.filename!r} of "
            f"{remote.repository!r}, found {error}; choose other weights"
        ) from None
    if len(layout.ranges) > MOST_RANGES:
        raise NoRanges(remote.bytes)
    return layout


def _fill(part: PartFile, remote: RemoteFile, layout: Layout) -> Iterator[BodyProgress]:
    """Piece by piece, each small enough to come within some seconds."""
    attempts, most = Attempts(), FIRST_PIECE_BYTES
    while part.come < layout.data_bytes:
        yield _progress(part.come, layout)
        start, stop = layout.piece(part.come, most)
        end, started = part.come + stop - start, time.monotonic()
        try:
            with attempts:
                yield from _piece(part, remote, layout, start, stop)
        except lost() as error:
            raise _broken_off(error, remote, part, layout) from None
        part.save()
        most = _next_piece(most, time.monotonic() - started, whole=part.come == end)
    yield _progress(part.come, layout)


def _piece(
    part: PartFile, remote: RemoteFile, layout: Layout, start: int, stop: int
) -> Iterator[BodyProgress]:
    told = time.monotonic()
    for chunk in remote.stream(start, stop):
        part.write(chunk)
        if time.monotonic() - told > SHOW_SECONDS:
            part.save()
            yield _progress(part.come, layout)
            told = time.monotonic()


def _next_piece(most: int, seconds: float, whole: bool) -> int:
    """More at once while pieces come quickly, less where they come slowly or break."""
    if not whole:
        most //= 4
    elif seconds < QUICK_SECONDS:
        most *= 2
    elif seconds > SLOW_SECONDS:
        most //= 2
    return min(max(most, LEAST_PIECE_BYTES), MOST_PIECE_BYTES)


def _broken_off(error: Exception, remote: RemoteFile, part: PartFile, layout: Layout) -> Exception:
    if not hub.is_unavailable(error):
        return error
    return WeightsError(
        f"the download of {remote.repository!r} broke off at {part.come / 1e6:.0f} of "
        f"{layout.data_bytes / 1e6:.0f} MB; check the connection and try again, it goes on from "
        "there"
    )
