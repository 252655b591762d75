"""A run, an exported folder or one's own photos → a repository on the Hub: one commit, compared
afterwards."""

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from transfer import hub
from transfer.cache.paths import private_folder
from transfer.errors import PublishError, SettingsError, SignInError
from transfer.publishing import account
from transfer.publishing.bundle import (
    DATASET,
    Bundle,
    files_in,
    read_publishable,
    read_run_or_export,
    write_bundle,
)
from transfer.publishing.errors import explain
from transfer.publishing.events import Checked, Event, Published, Verifying
from transfer.publishing.hub_repository import (
    CARD,
    SPACE,
    UNTOUCHED,
    FileDigest,
    HubRepository,
    quiet,
)
from transfer.publishing.photos import read_photos, write_photos
from transfer.publishing.retry import Steps
from transfer.runs.run import Run
from transfer.settings import WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

CONTENTS = {"head": "head", "full": "complete network", "page": "web page", DATASET: "photos"}
KINDS = {"page": SPACE, DATASET: DATASET}  # of repositories; else a model
SECONDS = 10.0  # for the Hub to say who somebody is
LONGEST_SECONDS = 24 * 3600  # no publish takes longer, so older temporary folders are leftovers


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """What to publish and where. `run` is a run, a folder that `export` wrote, or one of photos.

    `what` is `head` (small, for this package), `full` (for timm and transformers), `page` (a
    static Space that classifies in the browser) or `dataset` (photos that were collected on the
    page); `private` is for a new repository; `license` None means what follows from the weights and
    the images, and none for photos.
    `token` None is the one of this machine's user; it is in no text made of a request. Raises
    PublishError where the Hub would not take the name, or where it or the license is a token.
    """

    run: str | Path | Run
    repository: str
    what: str = "head"
    private: bool = True
    license: str | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self):
        account.refuse_token(self.license or "")
        account.check_name(self.repository)


def publish(run: str | Path | Run, repository: str, **options) -> Published:
    """Publish a run, an exported folder or photos; `options` are as in PublishRequest."""
    for event in publish_events(PublishRequest(run=run, repository=repository, **options)):
        published = event
    return published


def publish_events(
    request: PublishRequest, should_stop: Callable[[], bool] = lambda: False
) -> Generator[Event, None, Published]:
    """Publish step by step; the last event is Published, which is returned as well.

    Whatever can be checked is checked before anything is sent; then one commit holds all files or
    none, and it is compared with what was sent. A failed or cancelled publish leaves the Hub as it
    was; the run is never changed. The token goes to the Hub and nowhere else. Closing the generator
    cancels. Raises PublishError, RunError, WeightsError, SettingsError or SourceError.
    """
    from huggingface_hub import HfApi

    request = replace(request, run=check_source(request.run, request.what))
    token = account.sign_in(request.token)
    kind = KINDS.get(request.what, "model")
    repository = HubRepository(HfApi(token=token), request.repository, should_stop, kind)
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
    existing = yield from _find_place(repository)
    private = bool(existing.private) if existing else request.private
    request = replace(request, repository=repository.name, private=private)
    with _temporary_folder() as folder:
        previous = yield from repository.read_card(folder / "before")
        if request.what == DATASET:
            _check_dataset(repository, previous)
        linked = yield from repository.find_counterpart(private)
        bundle = write_files(request, folder / "files", previous, linked)
        files = {name: FileDigest.of(path) for name, path in files_in(bundle.folder).items()}
        sizes = {name: file.bytes for name, file in files.items()}
        facts = {"repository": repository.name, "private": private, "what": bundle.what}
        facts |= {"files": sizes, "bytes": sum(sizes.values())}
        yield Checked(exists=existing is not None, **facts)
        before = repository.head
        if existing is None:
            yield from repository.create(private)
        message = f"{len(bundle.classes)} classes, {CONTENTS[bundle.what]}"
        commit = yield from repository.commit(files, message)
        yield Verifying()
        yield from _verify(repository, files)
    published = Published(url=repository.url, commit=commit, changed=commit != before, **facts)
    yield published
    return published


def _find_place(repository: HubRepository) -> Steps["ModelInfo | None"]:
    """Complete the repository's name and look it up; None if it does not exist yet."""
    whoami = yield from repository.ask(repository.api.whoami)
    repository.name = account.full_name(repository.name, whoami)
    info = yield from repository.look_up()
    if info:
        account.full_name(info.id, whoami)  # it may have been moved to somebody else
        if info.disabled:
            raise PublishError(f"the Hub has disabled {info.id}; publish under another name")
        if (sdk := getattr(info, "sdk", None)) not in (None, "static"):
            raise PublishError(
                f"expected a static Space or a new name, found {info.id}, which is a {sdk} Space; "
                "publish under another name"
            )
    return info


def _check_dataset(repository: HubRepository, card: str | None) -> None:
    """Raises PublishError where somebody made a dataset by other means: our card would say what is
    to be read of it."""
    from transfer.publishing.card import is_generated

    if repository.names - UNTOUCHED - {CARD} and not is_generated(card or ""):
        raise PublishError(
            f"expected a new dataset, or one that was published from here, found other files in "
            f"{repository.name}; publish under another name"
        )


def check_place(repository: str, weights: str) -> str:
    """USER/NAME as the Hub writes it, for the head of a training that is to start with `weights`.

    Raises PublishError where the Hub does not confirm a token that may write, or would not take it.
    """
    from huggingface_hub import HfApi

    if weights not in WEIGHTS:
        raise PublishError(
            "expected a body that others can find too, found weights from a file; train without "
            "--publish, then publish with --what full"
        )
    token = account.sign_in(None)
    account.check_name(repository)
    with quiet():
        try:
            whoami = hub.with_deadline(HfApi(token=token).whoami, SECONDS)
        except Exception as error:
            raise explain(error, repository, token) from None
    if whoami.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise SignInError("expected a token that may write, found one that may only read")
    return account.full_name(repository, whoami)


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


def check_source(source: str | Path | Run, what: str) -> Run | Path:
    """The run or folder, if `what` of it can be published. Raises SettingsError, RunError,
    SourceError or PublishError."""
    if what != DATASET:
        return read_publishable(source, what)
    if isinstance(source, Run):
        raise SettingsError("expected a folder of photos for a dataset, found a run; name a folder")
    return read_photos(source).folder


def write_files(
    request: PublishRequest, folder: Path, previous_card: str | None = None, linked: bool = False
) -> Bundle:
    """Write everything that would be published into `folder`: the model or photos, and the card.

    What a person wrote into `previous_card` stays in the new one. `linked` says that a model's page
    or a page's model is on the Hub under the same name. Raises SettingsError, RunError or
    WeightsError.
    """
    from transfer.publishing.card import is_public, write_card, write_dataset_card

    terms = {"license": request.license, "private": request.private, "previous": previous_card}
    if request.what == DATASET:
        bundle = write_photos(request.run, folder)
        write_dataset_card(bundle, request.repository, **terms)
        return bundle
    run = read_run_or_export(request.run)
    public = isinstance(run, Run) and is_public(run)
    name = request.repository.rpartition("/")[2]
    bundle = write_bundle(run, request.what, folder, public=public, name=name)
    write_card(
        bundle,
        request.repository,
        source_is_public=public,
        linked=linked,
        **terms,
    )
    return bundle


def _verify(repository: HubRepository, files: dict[str, FileDigest]) -> Steps[None]:
    """Raises PublishError unless the commit holds what was sent, by size and hash."""
    try:
        wrong = yield from repository.differences(repository.commit_id, files)
    except Exception:
        raise PublishError(
            f"all files were sent to {repository.url}, but the Hub did not let them be compared; "
            "look there, or publish again: nothing is sent twice"
        ) from None
    if wrong:
        raise PublishError(
            f"expected {wrong[0]} at {repository.url} as it was sent, found it missing or "
            "different; publish again"
        )


def _interrupted(repository: HubRepository) -> str:
    if repository.commit_id:
        return f"interrupted; all files were sent to {repository.url}, but not compared"
    if repository.committing:
        return f"interrupted during the commit; check whether {repository.url} holds it"
    return f"interrupted{repository.withdraw() or '; nothing was published'}"
