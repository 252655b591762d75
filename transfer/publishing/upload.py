"""Bytes on their way to the Hub's storage: where they go, how far they are, and why they wait."""

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer import hub

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

CHUNK_BYTES = 1 << 20
TEXT = (".json", ".md")  # goes with the commit itself
# huggingface_hub announces its own retries in these words, and nowhere else
PAUSE = re.compile(r"(?:Waiting|Retrying in) ([\d.]+) ?s")
TALKERS = tuple(
    f"huggingface_hub.{name}" for name in ("utils._http", "_commit_api", "file_download")
)


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """A file by its content: what storage knows it by (`sha256`) and what git does (`blob`)."""

    path: Path
    bytes: int
    sha256: str
    blob: str

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        size = path.stat().st_size
        sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
                blob.update(chunk)
        return cls(path=path, bytes=size, sha256=sha256.hexdigest(), blob=blob.hexdigest())


class Stopped(Exception):
    """Nobody wants these bytes sent any more."""


class Counted(io.BufferedReader):
    """A file that says how far it was read, and that ends in Stopped once `stopped` is true."""

    def __init__(self, path: Path, stopped: Callable[[], bool]):
        super().__init__(io.FileIO(path))
        self._stopped = stopped

    def read(self, size: int | None = -1) -> bytes:
        if self._stopped():
            raise Stopped
        return super().read(size)


class Upload:
    """The files of one commit on their way; everything here runs in the thread that sends."""

    def __init__(self, api: "HfApi", repository: str, files: dict[str, FileDigest]):
        self.api, self.repository, self.files = api, repository, files
        self.total_bytes = sum(file.bytes for file in files.values())
        self.stopped = False
        self.operations: list[CommitOperationAdd] = []
        self._counted: list[Counted] = []
        self._sending = self._sent = False

    @property
    def tells(self) -> bool:
        """Whether `done_bytes` moves while files are sent."""
        return bool(self._counted)

    @property
    def done_bytes(self) -> int:
        """What has been read to be sent; nothing until all is up where Xet does it by itself."""
        if self._sent:
            return self.total_bytes
        if not self._sending:
            return 0
        return sum(file.tell() for file in self._counted if not file.closed)

    def send(self) -> None:
        """Bring the large files into storage, where nobody sees them before the commit."""
        through_xet = self._is_xet()
        self.operations = [self._operation(name, through_xet) for name in self.files]
        self._sending = True
        for operation in self.operations:
            # one by one: several would go through a pool whose threads outlive Ctrl-C
            if not operation.path_in_repo.endswith(TEXT):
                self.api.preupload_lfs_files(
                    self.repository, additions=[operation], revision="main", free_memory=False
                )
        self._sent = True

    def _is_xet(self) -> bool:
        """Whether this Hub keeps large files in Xet, as huggingface_hub takes for granted."""
        from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

        largest = max(self.files.values(), key=lambda file: file.bytes)
        info = UploadInfo(largest.bytes, b"", sha256=bytes.fromhex(largest.sha256))
        *_, chosen = post_lfs_batch_info(
            [info],
            token=self.api.token,
            repo_type="model",
            repo_id=self.repository,
            revision="main",
            endpoint=self.api.endpoint,
            transfers=["basic", "multipart", "xet"],
        )
        return chosen == "xet"

    def _operation(self, name: str, through_xet: bool) -> "CommitOperationAdd":
        """Of a path Xet takes charge; an open file goes over HTTP and tells how far it is."""
        from huggingface_hub import CommitOperationAdd

        path = self.files[name].path
        if through_xet:
            return CommitOperationAdd(name, path)
        self._counted.append(Counted(path, lambda: self.stopped))
        return CommitOperationAdd(name, self._counted[-1])

    def close(self) -> None:
        self.stopped = True
        for file in self._counted:
            file.close()


class _Pauses(logging.Filter):
    """Keeps what huggingface_hub says of its own retries from stderr, for its lines hold the
    addresses of uploads, which are as good as a key. Other threads' lines pass."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.threadName != hub.THREAD:
            return True
        if found := PAUSE.search(record.getMessage()):
            self.seconds.append(float(found[1]))
        return False


@contextmanager
def quiet() -> Iterator[list[float]]:
    """No bars and no lines of huggingface_hub's own; gives the seconds that it says it waits."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    pauses, had_bars = _Pauses(), not are_progress_bars_disabled()
    if had_bars:
        disable_progress_bars()
    for name in TALKERS:
        logging.getLogger(name).addFilter(pauses)
    try:
        yield pauses.seconds
    finally:
        for name in TALKERS:
            logging.getLogger(name).removeFilter(pauses)
        if had_bars:
            enable_progress_bars()
