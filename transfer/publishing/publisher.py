"""A run or an exported folder → a model repository on the Hub: one commit, compared afterwards."""

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from transfer.cache.paths import private_folder
from transfer.errors import PublishError, SettingsError
from transfer.publishing import account
from transfer.publishing.bundle import WHATS, Bundle, read_run_or_export, write_bundle
from transfer.publishing.errors import explain
from transfer.publishing.events import Checked, Event, Published, Verifying, Waiting
from transfer.publishing.hub_repository import FileDigest, HubRepository, quiet
from transfer.runs.run import Run

CARD = "README.md"
LONGEST_SECONDS = 24 * 3600  # no publish takes longer, so older temporary folders are leftovers


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """What to publish and where. `run` is a run or a folder that `export` wrote.

    `what` is `head` (small, for this package) or `full` (for timm and transformers); `private` is
    for a new repository; `license` None means what follows from the weights and the images.
    `token` None is the one of this machine's user; it is in no text made of a request.
    """

    run: str | Path | Run
    repository: str
    what: str = "head"
    private: bool = True
    license: str | None = None
    token: str | None = field(default=None, repr=False)


def publish(
    run: str | Path | Run,
    repository: str,
    *,
    what: str = "head",
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
) -> Published:
    """Publish a run, or a folder that `export` wrote, as `repository`; see PublishRequest."""
    published = None
    request = PublishRequest(
        run=run, repository=repository, what=what, private=private, license=license, token=token
    )
    for event in publish_events(request):
        published = event
    return published


def publish_events(
    request: PublishRequest, should_stop: Callable[[], bool] = lambda: False
) -> Generator[Event, None, Published]:
    """Publish step by step; the last event is Published, which is returned as well.

    Whatever can be checked is checked before anything is sent; then one commit holds all files or
    none, and it is compared with what was sent. A failed or cancelled publish leaves the Hub as it
    was; the run is never changed. The token goes to the Hub and nowhere else. Closing the generator
    cancels. Raises PublishError, RunError, WeightsError or SettingsError.
    """
    from huggingface_hub import HfApi

    if request.what not in WHATS:
        raise SettingsError(f"what must be one of {', '.join(WHATS)}, found {request.what!r}")
    request = replace(request, run=read_run_or_export(request.run))
    token = account.sign_in(request.token)
    repository = HubRepository(HfApi(token=token), request.repository, should_stop)
    with quiet():
        try:
            return (yield from _publish(repository, request))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(repository)) from None
        except GeneratorExit:
            repository.withdraw()
            raise
        except Exception as error:
            explained = explain(error, repository.name, token)
            raise type(explained)(f"{explained}{repository.withdraw()}") from error


def _publish(
    repository: HubRepository, request: PublishRequest
) -> Generator[Event, None, Published]:
    existing_is_private = yield from _find_place(repository)
    exists = existing_is_private is not None
    private = existing_is_private if exists else request.private
    with _temporary_folder() as folder:
        previous = yield from _previous_card(repository, folder)
        bundle = write_files(request, folder / "files", repository.name, previous)
        files = {path.name: FileDigest.of(path) for path in sorted(bundle.folder.iterdir())}
        sizes = {name: file.bytes for name, file in files.items()}
        facts = {
            "repository": repository.name,
            "private": private,
            "what": bundle.what,
            "files": sizes,
            "bytes": sum(sizes.values()),
        }
        yield Checked(exists=exists, **facts)
        before = repository.head
        if not exists:
            yield from repository.create(private)
        commit = yield from repository.commit(files, _message(bundle))
        yield Verifying()
        yield from _verify(repository, files)
    published = Published(url=repository.url, commit=commit, changed=commit != before, **facts)
    yield published
    return published


def _find_place(repository: HubRepository) -> Generator[Waiting, None, bool | None]:
    """Complete the repository's name and look it up.

    Returns whether the existing repository is private, None if there is none.
    """
    whoami = yield from repository.ask(repository.api.whoami)
    repository.name = account.full_name(repository.name, whoami)
    info = yield from repository.look_up()
    if info is None:
        return None
    account.full_name(info.id, whoami)  # it may have been moved to somebody else
    if info.disabled:
        raise PublishError(f"the Hub has disabled {info.id}; publish under another name")
    return bool(info.private)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that no other user can read. Also removes what killed publishes left behind."""
    place = private_folder("publish")
    for old in place.iterdir():
        with suppress(OSError):  # another process was faster
            if time.time() - old.stat().st_mtime > LONGEST_SECONDS:
                shutil.rmtree(old)
    folder = Path(tempfile.mkdtemp(dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _previous_card(repository: HubRepository, folder: Path) -> Generator[Waiting, None, str | None]:
    if CARD not in repository.names:
        return None
    path = yield from repository.download(CARD, folder / "before")
    return path.read_bytes().decode("utf-8", "surrogateescape")  # any bytes and line ends survive


def write_files(
    request: PublishRequest, folder: Path, repository: str = "", previous_card: str | None = None
) -> Bundle:
    """Write everything that would be published into `folder`: the model and its card.

    `repository` is the complete name if the request has a shorter one; what a person wrote into
    `previous_card` stays in the new one. Raises SettingsError, RunError or WeightsError.
    """
    from transfer.publishing.card import is_public, write_card

    run = read_run_or_export(request.run)
    public = isinstance(run, Run) and is_public(run)
    bundle = write_bundle(run, request.what, folder, public=public)
    write_card(
        bundle,
        repository or request.repository,
        license=request.license,
        private=request.private,
        source_is_public=public,
        previous=previous_card,
    )
    return bundle


def _message(bundle: Bundle) -> str:
    what = "head" if bundle.what == "head" else "complete network"
    return f"{len(bundle.classes)} classes, {what}"


def _verify(
    repository: HubRepository, files: dict[str, FileDigest]
) -> Generator[Waiting, None, None]:
    """Raises PublishError unless the commit holds what was sent, by size and hash."""
    try:
        wrong = yield from repository.first_difference(files)
    except Exception:
        raise PublishError(
            f"all files were sent to {repository.url}, but the Hub did not let them be compared; "
            "look there, or publish again: nothing is sent twice"
        ) from None
    if wrong is not None:
        raise PublishError(
            f"expected {wrong} at {repository.url} as it was sent, found it missing or different; "
            "publish again"
        )


def _interrupted(repository: HubRepository) -> str:
    if repository.commit_id:
        return f"interrupted; all files were sent to {repository.url}, but not compared"
    if repository.committing:
        return f"interrupted during the commit; check whether {repository.url} holds it"
    return f"interrupted{repository.withdraw() or '; nothing was published'}"
