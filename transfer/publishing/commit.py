"""A folder of files → one commit of a model repository on the Hub: all of it or nothing."""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from transfer import hub
from transfer.errors import PublishError, TransferError
from transfer.publishing.retry import (
    Waiting,
    asked_pause,
    asking,
    check,
    is_passing,
    pauses,
    status_of,
    waiting,
    why,
)
from transfer.publishing.upload import FileDigest, Upload

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoFile

Answer = TypeVar("Answer")
REQUEST_SECONDS = 10.0
CREATE_SECONDS = 30.0
COMMIT_SECONDS = 120.0
STALLED_SECONDS = 120.0  # without a byte read to be sent
CONFLICTS = (409, 412)  # somebody else wrote meanwhile, or we did and did not hear of it
REST_SECONDS = 10.0  # how long a request under way is waited for before cleaning up
UNTOUCHED = {".gitattributes"}  # what the Hub itself puts into a new repository
# what this package may have written there before, and what would not fit the new files
OURS = {"run.json", "report.json", "config.json", "model.safetensors", "stages.safetensors"} | {
    f"{name}.png" for name in ("curves", "confusion", "mistakes")
}


@dataclass(frozen=True, kw_only=True)
class Sending:
    """`done_bytes` of `total_bytes` are on their way or there."""

    done_bytes: int
    total_bytes: int


class HubCommit:
    """One model repository that is written to. `head` is its last commit, None before it exists;
    `names` are the files that it has there. `pauses_told` are the seconds for which huggingface_hub
    says that it waits by itself.

    The methods that talk to the Hub are generators: they yield Waiting and return the answer.
    """

    def __init__(
        self,
        api: "HfApi",
        repository: str,
        should_stop: Callable[[], bool],
        pauses_told: list[float],
    ):
        self.api, self.repository, self.should_stop = api, repository, should_stop
        self.pauses_told = pauses_told
        self.head: str | None = None
        self.names: set[str] = set()
        self.made = False
        self.commit: str | None = None
        self.committing = False
        self._at_rest = threading.Event()
        self._at_rest.set()

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{self.repository}"

    def ask(
        self, call: Callable[[], Answer], seconds: float = REQUEST_SECONDS, **more
    ) -> Generator[Waiting, None, Answer]:
        """A commit that may be there already is looked for whoever wants to stop."""
        return asking(call, seconds, _never if self.committing else self.should_stop, **more)

    def look(self) -> Generator[Waiting, None, "ModelInfo | None"]:
        """What the Hub tells of the repository; None where there is none. Sets what it knows."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            info = yield from self.ask(partial(self.api.model_info, self.repository))
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None
        self.repository, self.head, self.names = info.id, info.sha, _names(info)
        return info

    def held(
        self, commit: str, names: Iterable[str]
    ) -> Generator[Waiting, None, dict[str, "RepoFile"]]:
        """Name → what a commit holds of it; a name is left out where it holds no such file."""
        from huggingface_hub.hf_api import RepoFile

        look = partial(self.api.get_paths_info, self.repository, sorted(names), revision=commit)
        entries = yield from self.ask(look)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def deliver(
        self, files: dict[str, FileDigest], private: bool, message: str
    ) -> Generator[Waiting | Sending, None, str]:
        """The commit that holds `files`: a new one, or `head` where they are there already.

        What this package wrote before under other names leaves with the same commit.
        """
        if self.head is None:
            yield from self._make(private)
        before = yield from self.held(self.head, files.keys() | OURS)
        if is_there(before, files):
            self.commit = self.head
            return self.head
        upload = Upload(self.api, self.repository, files)
        try:
            yield from self._send(upload)
            stale = sorted((OURS & before.keys()) - files.keys())
            self.commit = yield from self._commit(upload, stale, message)
        finally:
            upload.close()
        self.should_stop = _never  # it is done; what follows only reads
        return self.commit

    def _make(self, private: bool) -> Generator[Waiting, None, None]:
        """A new repository. One that appeared since the look is ours if an answer was lost."""
        check(self.should_stop)
        tried = 0

        def create() -> None:
            nonlocal tried
            tried += 1
            self.made = True
            self._write(partial(self.api.create_repo, self.repository, private=private))

        try:
            yield from self.ask(create, CREATE_SECONDS)
        except Exception as error:
            if status_of(error) != 409:
                raise
            self.made = tried > 1
        if (yield from self.look()) is None:
            raise PublishError(
                f"expected to write to {self.repository}, found that it exists and that this token "
                "may not see it; publish under another name"
            )

    def _send(self, upload: Upload) -> Generator[Waiting | Sending, None, None]:
        """Runs while the Hub answers; huggingface_hub tries again by itself and says so."""
        shown, moved = None, time.monotonic()
        self.pauses_told.clear()
        for _ in hub.watching(upload.send, self._is_awake):
            check(self.should_stop)
            while self.pauses_told:
                yield from waiting(self.pauses_told.pop(0), "the Hub is busy", self.should_stop)
                moved = time.monotonic()
            if shown != upload.done_bytes:
                shown, moved = upload.done_bytes, time.monotonic()
                yield Sending(done_bytes=shown, total_bytes=upload.total_bytes)
            elif upload.tells and time.monotonic() - moved > STALLED_SECONDS:
                raise hub.HubUnavailable
        yield Sending(done_bytes=upload.total_bytes, total_bytes=upload.total_bytes)

    def _is_awake(self) -> object:
        return self.api.model_info(self.repository)

    def _commit(
        self, upload: Upload, stale: list[str], message: str
    ) -> Generator[Waiting, None, str]:
        """After a failure it looks first whether the commit is there: answers get lost."""
        from huggingface_hub import CommitOperationDelete

        send = partial(
            self.api.create_commit,
            self.repository,
            [*upload.operations, *(CommitOperationDelete(name) for name in stale)],
            commit_message=message,
            parent_commit=self.head,
        )
        for pause in pauses():
            check(self.should_stop)
            self.committing = True
            try:
                return hub.ask(partial(self._write, send), COMMIT_SECONDS).oid
            except Exception as error:
                caught = error
            passing = is_passing(caught)
            if passing or status_of(caught) in CONFLICTS:
                there = yield from self._head_with(upload.files)
                if there:
                    return there
            self.committing = False
            if pause is None or not passing:
                raise caught
            yield from waiting(asked_pause(caught, pause), why(caught), self.should_stop)
        raise AssertionError("the last pause is None")

    def _write(self, call: Callable[[], Answer]) -> Answer:
        """Runs in the thread that asks; cleaning up waits for it, whoever gave it up."""
        self._at_rest.clear()
        try:
            return call()
        finally:
            self._at_rest.set()

    def _head_with(self, files: dict[str, FileDigest]) -> Generator[Waiting, None, str | None]:
        """The last commit, if it holds these files."""
        try:
            info = yield from self.ask(partial(self.api.model_info, self.repository))
            held = yield from self.held(info.sha, files.keys() | OURS)
        except TransferError:
            raise
        except Exception:
            raise PublishError(
                f"the Hub fell silent while it took the commit, so {self.url} may hold it or not; "
                "look there, or publish again: nothing is sent twice"
            ) from None
        return info.sha if is_there(held, files) else None

    def withdraw(self) -> str:
        """Remove the repository if it was made here and is still empty; says what remains."""
        if not self.made or self.commit:
            return ""
        self._at_rest.wait(REST_SECONDS)
        for pause in pauses():
            try:
                return self._remove_if_empty()
            except Exception as error:
                if pause is None or not is_passing(error):
                    break
            time.sleep(pause)
        return f"; an empty repository may remain at {self.url}, remove it there"

    def _remove_if_empty(self) -> str:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = hub.ask(partial(self.api.model_info, self.repository), REQUEST_SECONDS)
            if _names(info) - UNTOUCHED:
                return f"; {self.url} holds files and stays"
            hub.ask(partial(self.api.delete_repo, self.repository), REQUEST_SECONDS)
        except RepositoryNotFoundError:
            return ""  # it never came into being, or the answer to its removal was lost
        return ""


def _never() -> bool:
    return False


def _names(info: "ModelInfo") -> set[str]:
    return {file.rfilename for file in info.siblings or ()}


def is_there(held: dict[str, "RepoFile"], files: dict[str, FileDigest]) -> bool:
    """Whether a commit holds exactly these files of ours, whatever others it holds."""
    return differing(held, files) is None and not (OURS & held.keys()) - files.keys()


def differing(held: dict[str, "RepoFile"], files: dict[str, FileDigest]) -> str | None:
    """The name of a file that is missing in a commit, or has another content."""
    return next((name for name, file in files.items() if not _same(held.get(name), file)), None)


def _same(found: "RepoFile | None", file: FileDigest) -> bool:
    if found is None or found.size != file.bytes:
        return False
    return found.lfs.sha256 == file.sha256 if found.lfs else found.blob_id == file.blob
