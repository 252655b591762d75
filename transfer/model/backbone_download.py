"""Download VGG's convolutional body from timm's repository on the Hub, and cache it.

timm's vgg16 file is 553 MB, of which the body (`features.*`) is 59 MB in one piece. The
safetensors header says where, so range requests fetch this part alone. It is stored as a
safetensors file named by its sha256; a JSON record beside it names the repository and the commit.
"""

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout

from transfer import hub
from transfer.cache.downloads import BODIES, PART, TENSORS, Download, open_bodies
from transfer.cache.paths import cache_errors, cache_folder
from transfer.errors import WeightsError
from transfer.events import BodyProgress

FILE, PREFIX = "model.safetensors", "features."
PIECE_BYTES = 4 * 2**20  # progress is reported, and a broken connection retried, by the piece
HEADER_SECONDS = 10.0
LOCK_SECONDS = 0.5  # between two attempts, while another process downloads


class _NoRange(Exception):
    """The body cannot be fetched by ranges: download the complete file."""


@dataclass(frozen=True, kw_only=True)
class BodyFile:
    """A safetensors file with the tensors `features.*`, perhaps among others; `where` it was."""

    path: Path
    commit: str
    where: str


def find_cached_body(repository: str, revision: str | None = None) -> BodyFile | None:
    """A body on this machine, without a request: from the Hub's own cache, else from ours."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(repository, FILE, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return _find_downloaded(repository, revision)
    return BodyFile(path=path, commit=path.parent.name, where="the local Hub cache")


def is_reachable(repository: str) -> bool:
    """Whether the body is on this machine, or the Hub answers in time for a download."""
    from huggingface_hub import HfApi

    try:
        if find_cached_body(repository):
            return True
        hub.with_deadline(lambda: HfApi().model_info(repository, timeout=hub.ANSWER_SECONDS))
    except Exception:  # whatever the reason, the training will report it
        return False
    return True


def download_body(
    repository: str, revision: str | None = None
) -> Generator[BodyProgress, None, BodyFile]:
    """Download the body, or the complete file where ranges do not work; returns a BodyFile.

    A Hub that does not answer is given up within seconds. Raises WeightsError or CacheError.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repository, FILE, revision=revision)
        remote = hub.with_deadline(lambda: get_hf_file_metadata(url, timeout=hub.ANSWER_SECONDS))
        try:
            return (yield from _download_range(repository, remote.commit_hash))
        except _NoRange:
            return (yield from _download_file(repository, revision, remote.size or 0))
    except Exception as error:
        raise hub.explain(error, "model", repository, WeightsError) from None


def _download_range(repository: str, commit: str) -> Generator[BodyProgress, None, BodyFile]:
    """One process downloads, the others wait for it and find what it has cached."""
    from huggingface_hub import HfFileSystem
    from safetensors import safe_open

    read = partial(_read, HfFileSystem(skip_instance_cache=True), f"{repository}@{commit}/{FILE}")
    locate = partial(_locate, read, repository, commit)
    header, start, stop = hub.with_deadline(locate, HEADER_SECONDS)
    name = f"{repository.replace('/', '--')}--{commit}"
    part = open_bodies().folder / f"{name}{PART}"
    lock = Download(path=part).lock
    while not lock.is_locked:
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            yield BodyProgress(done_bytes=0, total_bytes=stop - start)
    try:
        if found := _find_downloaded(repository, commit):
            return found
        with cache_errors():
            part.write_bytes(header)
        for at in range(start, stop, PIECE_BYTES):
            progress = BodyProgress(done_bytes=at - start, total_bytes=stop - start)
            yield progress
            fetch = partial(read, at, min(at + PIECE_BYTES, stop))
            piece = yield from _watched(fetch, repository, lambda progress=progress: progress)
            with cache_errors(), part.open("ab") as file:
                file.write(piece)
        yield BodyProgress(done_bytes=stop - start, total_bytes=stop - start)
        with safe_open(part, framework="np"):  # lengths and offsets are right
            record = {"repository": repository, "commit": commit, "sha256": _sha256(part)}
        with cache_errors():
            part.replace(part.with_name(f"{record['sha256']}{TENSORS}"))
            part.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
        return _find_downloaded(repository, commit)
    finally:
        part.unlink(missing_ok=True)
        lock.release()


def _locate(
    read: Callable[[int, int], bytes], repository: str, commit: str
) -> tuple[bytes, int, int]:
    """(a safetensors header for the body alone, its first byte in the file, the one after)."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    length = int.from_bytes(read(0, 8), "little")
    try:
        found = HfApi().parse_safetensors_file_metadata(repository, FILE, revision=commit)
    except SafetensorsParsingError:
        raise _NoRange from None
    body = {name: info for name, info in found.tensors.items() if name.startswith(PREFIX)}
    offsets = [info.data_offsets for info in body.values()]
    start, stop = min(offsets, default=(0, 0))[0], max(offsets, default=(0, 0))[1]
    if not body or sum(b - a for a, b in offsets) != stop - start:  # other tensors in between
        raise _NoRange
    entries = {
        name: {
            "dtype": info.dtype,
            "shape": info.shape,
            "data_offsets": [offset - start for offset in info.data_offsets],
        }
        for name, info in body.items()
    }
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to eight bytes
    return len(text).to_bytes(8, "little") + text, 8 + length + start, 8 + length + stop


def _read(files, path: str, start: int, stop: int) -> bytes:
    """The client retries a connection that breaks. Raises _NoRange where a mirror sends more."""
    piece = files.cat_file(path, start, stop, cache_type="none")
    if len(piece) != stop - start:
        raise _NoRange
    return piece


def _download_file(
    repository: str, revision: str | None, total_bytes: int
) -> Generator[BodyProgress, None, BodyFile]:
    """The complete file, into the Hub's own cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import silent_tqdm

    done = 0

    class Counter(silent_tqdm):
        def __init__(self, *_, initial: int = 0, **__):
            self.update(initial)

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            done += int(n or 0)

    # by branch, not by commit: only then is it found in the cache again without the Hub
    path = yield from _watched(
        lambda: hf_hub_download(repository, FILE, revision=revision, tqdm_class=Counter),
        repository,
        lambda: BodyProgress(done_bytes=min(done, total_bytes), total_bytes=total_bytes),
    )
    return BodyFile(path=Path(path), commit=Path(path).parent.name, where="the local Hub cache")


def _watched(
    call: Callable[[], Any], repository: str, progress: Callable[[], BodyProgress]
) -> Generator[BodyProgress, None, Any]:
    """Returns what `call` does, or raises HubUnavailable once the Hub no longer answers."""
    from huggingface_hub import HfApi

    ping = partial(HfApi().model_info, repository, timeout=hub.PING_SECONDS)
    steps = hub.wait_in_steps(call, ping)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield progress()


def _find_downloaded(repository: str, revision: str | None) -> BodyFile | None:
    """The latest download of this repository, or the one at this commit, if it is intact.

    Earlier versions of this package wrote the same records under other names.
    """
    folder = cache_folder() / BODIES
    records = folder.glob("*.json")
    for record in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            commit, sha256 = found["commit"], found["sha256"]
            if found["repository"] != repository or revision not in (None, commit):
                continue
            path = folder / f"{sha256}{TENSORS}"
            if _sha256(path) == sha256:
                return BodyFile(path=path, commit=commit, where="the cache of downloaded bodies")
        except (OSError, ValueError, TypeError, KeyError):  # damaged or removed
            continue
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
