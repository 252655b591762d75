"""A model repository, a static Space or a dataset on the Hub: created if it is missing, filled by
one commit, compared after."""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from transfer import hub
from transfer.errors import PublishError, TransferError
from transfer.inference.onnx_format import FACTS, MODEL
from transfer.inference.timm_config import CONFIG
from transfer.publishing.events import Sending, Waiting
from transfer.publishing.onnx.runtime import PAGE_FILES
from transfer.publishing.retry import Steps, check, retrying, status_of
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, STAGES, TENSORS

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoFile

CARD, THUMBNAIL = "README.md", "thumbnail.png"
SPACE, DATASET = "space", "dataset"  # kinds of repositories
PREFIXES = {SPACE: "spaces/", DATASET: "datasets/"}  # of their addresses
REQUEST_SECONDS = 10.0
CREATE_SECONDS = 30.0
COMMIT_SECONDS = 120.0
DOWNLOAD_SECONDS = 60.0
UPLOAD_SECONDS = 120.0  # and the time that the bytes need on a slow line:
SLOWEST_BYTES_A_SECOND = 50_000
PATHS_A_REQUEST = 500
PHOTOS_A_GROUP, GROUP_BYTES = 50, 10_000_000  # of photos that are uploaded together
CONFLICTS = (409, 412)  # somebody else wrote meanwhile, or we did and the answer was lost
UNTOUCHED = {".gitattributes"}  # what the Hub itself puts into a new repository
# sent with the commit itself, not to the storage of large files
TEXT_FILES = (".json", ".md", ".html", ".css", ".js", ".mjs")
# Files that this package may have published there before; those that do not belong to the new ones
# are deleted by the same commit.
OURS = {RECORD, REPORT, CONFIG, TENSORS, STAGES, FAMILIARITY}
OURS |= {f"{name}.png" for name in ("curves", "reliability", "confusion", "mistakes")}
OURS |= {MODEL, FACTS, THUMBNAIL, *PAGE_FILES}
OURS |= {f"example-{number}.jpg" for number in range(1, 4)}


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """A file by its content: large files are stored by `sha256`, others by git's `blob` id."""

    path: Path
    bytes: int
    sha256: str
    blob: str

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        size = path.stat().st_size
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256")
        blob = hashlib.sha1(b"blob %d\0" % size + path.read_bytes(), usedforsecurity=False)
        return cls(path=path, bytes=size, sha256=sha256.hexdigest(), blob=blob.hexdigest())

    def is_same(self, held: "RepoFile | None") -> bool:
        if held is None or held.size != self.bytes:
            return False
        return held.lfs.sha256 == self.sha256 if held.lfs else held.blob_id == self.blob


class HubRepository:
    """`head` is the newest commit, None before the repository exists; `names` are its files.

    Methods that talk to the Hub are generators: they yield Waiting and return the answer.
    """

    def __init__(
        self, api: "HfApi", name: str, should_stop: Callable[[], bool], kind: str = "model"
    ):
        self.api, self.name, self.should_stop, self.kind = api, name, should_stop, kind
        self.head: str | None = None
        self.names: set[str] = set()
        self.created = False
        self.committing = False
        self.commit_id: str | None = None

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{PREFIXES.get(self.kind, '')}{self.name}"

    def _call(self, method: str, *arguments, **more) -> Callable:
        """A method of the client, for this repository."""
        call = getattr(self.api, method)
        return partial(call, self.name, *arguments, repo_type=self.kind, **more)

    def ask(self, call: Callable, seconds: float = 0, **more) -> Generator:
        return retrying(call, seconds or REQUEST_SECONDS, self.should_stop, **more)

    def look_up(self) -> Steps["ModelInfo | None"]:
        """Find the repository, which may have been renamed; None if there is none."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            info = yield from self.ask(self._call("repo_info"))
        except RepositoryNotFoundError as error:
            if isinstance(error, GatedRepoError):  # it exists
                raise
            return None
        self.name, self.head, self.names = info.id, info.sha, _names(info)
        return info

    def find_counterpart(self, private: bool) -> Steps[bool]:
        """Whether the page of this model, or the model of this page, has the same name and can be
        seen by all who see this."""
        from huggingface_hub.errors import RepositoryNotFoundError

        if self.kind == DATASET:
            return False
        kind, file = ("model", TENSORS) if self.kind == SPACE else (SPACE, MODEL)
        ask = partial(self.api.repo_info, self.name, repo_type=kind)
        try:
            info = yield from self.ask(ask)
        except RepositoryNotFoundError:
            return False
        return file in _names(info) and (private or not info.private)

    def create(self, private: bool) -> Steps[None]:
        check(self.should_stop)
        self.created = True  # perhaps even if no answer comes
        sdk = {"space_sdk": "static"} if self.kind == SPACE else {}
        create = self._call("create_repo", private=private, exist_ok=True, **sdk)
        yield from self.ask(create, CREATE_SECONDS)
        info = yield from self.look_up()
        if info is None:
            raise PublishError(
                f"{self.name} exists, but you may not see it; publish under another name"
            )
        if private and not info.private:
            self.created = False  # somebody else was faster
            raise PublishError(f"{self.name} is public meanwhile; publish under another name")

    def read_card(self, folder: Path) -> Steps[str | None]:
        """README.md of `head`. Private files must not enter a cache that others share."""
        if CARD not in self.names:
            return None
        fetch = self._call("hf_hub_download", CARD, revision=self.head)
        path = yield from self.ask(partial(fetch, local_dir=folder), DOWNLOAD_SECONDS)
        # any bytes and line ends survive
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")

    def commit(
        self, files: dict[str, FileDigest], message: str
    ) -> Generator[Waiting | Sending, None, str]:
        """Return the commit that holds `files`: a new one, or `head` if it holds them already.

        Raises PublishError if their folders hold other files: nothing in folders is overwritten.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        different = yield from self.differences(self.head, files)
        self._check_folders(files, {*different})
        if not different:
            self.commit_id = self.head
        else:
            additions = [CommitOperationAdd(name, file.path) for name, file in files.items()]
            yield from self._upload_large(additions, files)
            stale = [CommitOperationDelete(name) for name in different if name not in files]
            self.commit_id = yield from self._commit([*additions, *stale], files, message)
        self.should_stop = _never  # what follows only reads
        return self.commit_id

    def _check_folders(self, files: dict[str, FileDigest], different: set[str]) -> None:
        """A photo of somebody else's must not be lost, nor become one of these."""
        folders = {name.partition("/")[0] for name in files if "/" in name}
        inside = (name for name in self.names if name.partition("/")[0] in folders)
        if others := sorted(name for name in inside if name not in files or name in different):
            raise PublishError(
                f"expected {self.name} to hold none but these photos, found {len(others)} others "
                f"there, such as {others[0]!r}; publish under another name, or delete them there"
            )

    def _upload_large(
        self, additions: list["CommitOperationAdd"], files: dict[str, FileDigest]
    ) -> Iterator[Sending]:
        """Those that do not travel with the commit itself. Photos go in groups, for each request
        counts; other files one by one, as several use threads that outlive Ctrl-C."""
        total, sent = sum(file.bytes for file in files.values()), 0
        yield Sending(total_bytes=total)
        large = [add for add in additions if not add.path_in_repo.endswith(TEXT_FILES)]
        while large:
            most = PHOTOS_A_GROUP if self.kind == DATASET else 1
            sizes = list(accumulate(files[add.path_in_repo].bytes for add in large[:most]))
            number = max(1, sum(size <= GROUP_BYTES for size in sizes))
            self._upload(large[:number], sizes[number - 1])
            large, sent = large[number:], sent + sizes[number - 1]
            yield Sending(total_bytes=total, sent_bytes=sent)

    def _upload(self, additions: list["CommitOperationAdd"], size: int) -> None:
        """Store large files; nobody sees them before the commit, so this can be given up any
        time."""
        send = self._call("preupload_lfs_files", additions)
        end = time.monotonic() + UPLOAD_SECONDS + size / SLOWEST_BYTES_A_SECOND
        # huggingface_hub sends it again by itself while storage is busy
        for _ in hub.wait_in_steps(send, self._call("repo_info")):
            check(self.should_stop)
            if time.monotonic() > end:
                raise hub.HubUnavailable

    def _commit(self, operations: list, files: dict[str, FileDigest], message: str) -> Steps[str]:
        def send() -> str:
            self.committing = True
            how = {"commit_message": message, "parent_commit": self.head}
            return self._call("create_commit", operations, **how)().oid

        def find_result(error: Exception) -> Steps[str | None]:
            """The answer may have been lost: does the newest commit hold what was sent?"""
            refused = 400 <= (status_of(error) or 0) < 500 and status_of(error) not in CONFLICTS
            found = None if refused else (yield from self._newest_with(files))
            self.committing = False
            return found

        return (yield from self.ask(send, COMMIT_SECONDS, find_result=find_result))

    def _newest_with(self, files: dict[str, FileDigest]) -> Steps[str | None]:
        stop_asked, self.should_stop = self.should_stop, _never  # first find out what happened
        try:
            newest = (yield from self.ask(self._call("repo_info"))).sha
            return None if (yield from self.differences(newest, files)) else newest
        except TransferError:
            raise
        except Exception:
            raise PublishError(
                f"the Hub stopped answering during the commit, so {self.url} may hold it or not; "
                "look there, or publish again: nothing is sent twice"
            ) from None
        finally:
            self.should_stop = stop_asked

    def differences(self, commit: str, files: dict[str, FileDigest]) -> Steps[list[str]]:
        """The names of files that a commit misses or holds with other content, and of OURS that it
        should not hold; the user's own are ignored. In a dataset nothing but `files` is ours."""
        from huggingface_hub.hf_api import RepoFile

        ours = set() if self.kind == DATASET else OURS
        paths, held = sorted({*files, *ours}), {}
        for start in range(0, len(paths), PATHS_A_REQUEST):
            some = paths[start : start + PATHS_A_REQUEST]
            entries = yield from self.ask(self._call("get_paths_info", some, revision=commit))
            held |= {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        wrong = [name for name, file in files.items() if not file.is_same(held.get(name))]
        return wrong + sorted((ours & held.keys()) - files.keys())

    def withdraw(self) -> str:
        """Delete the repository if it was created here and is still empty; says what remains."""
        from huggingface_hub.errors import RepositoryNotFoundError

        if not self.created or self.commit_id:
            return ""
        try:
            info = hub.with_deadline(self._call("repo_info"), REQUEST_SECONDS)
            if _names(info) - UNTOUCHED:
                return f"; {self.url} holds files and stays"
            hub.with_deadline(self._call("delete_repo"), REQUEST_SECONDS)
        except RepositoryNotFoundError:
            return ""
        except Exception:
            return f"; an empty repository may remain at {self.url}, delete it there"
        return ""


def _never() -> bool:
    return False


def _names(info: "ModelInfo") -> set[str]:
    return {file.rfilename for file in info.siblings or ()}


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of huggingface_hub: they print addresses of uploads, which
    are as good as a key."""
    from huggingface_hub import utils

    had_bars, verbosity = not utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    utils.disable_progress_bars()
    utils.logging.set_verbosity(utils.logging.CRITICAL)
    try:
        yield
        utils.logging.set_verbosity(verbosity)  # not after a failure: a given-up upload may go on
    finally:
        if had_bars:
            utils.enable_progress_bars()
