"""A run or an exported folder → a model repository on the Hub, whole, and read back."""

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.cache.paths import private_folder
from transfer.errors import PublishError, RunError, SettingsError
from transfer.publishing import account
from transfer.publishing.commit import REQUEST_SECONDS, HubCommit, Sending
from transfer.publishing.errors import refusal
from transfer.publishing.retry import Waiting
from transfer.publishing.upload import FileDigest, quiet
from transfer.publishing.verify import downloading, reading_back
from transfer.runs.run import RECORD, Run, read_run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from transfer.publishing.bundle import Bundle

WHAT = ("head", "full")
CARD = "README.md"
LONGEST_SECONDS = 24 * 3600  # that a publish may take


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Nothing stands in the way. An existing repository keeps its visibility, told in `private`."""

    repository: str
    exists: bool
    private: bool
    what: str
    files: dict[str, int]
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Verifying:
    """All is up; now it is read back."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What stands on the Hub: file name → bytes in `files`, `bytes` in all.

    `changed` is False where the repository held just these files already.
    """

    repository: str
    url: str
    commit: str
    private: bool
    what: str
    files: dict[str, int]
    bytes: int
    changed: bool


Event = Checked | Waiting | Sending | Verifying | Published


def publish(
    run: str | Path | Run,
    repository: str,
    *,
    what: str = "head",
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
) -> Published:
    """Publish a run, or a folder that `export` wrote, as `repository`; see `publishing`."""
    published = None
    for event in publishing(
        run, repository, what=what, private=private, license=license, token=token
    ):
        published = event
    return published


def publishing(
    run: str | Path | Run,
    repository: str,
    *,
    what: str = "head",
    private: bool = True,
    license: str | None = None,
    token: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, Published]:
    """Publish, telling how it goes; the last event is Published, which is returned as well.

    Everything that can be known is checked before the first byte leaves; then one commit holds all
    files or none, and it is compared with what was sent. A failed or cancelled publish leaves the
    Hub as it was; the run is never changed. `token` is what the user signed in with, else what
    `hf auth login` left; it goes to the Hub and nowhere else. Closing the generator cancels.
    Raises PublishError, RunError, WeightsError or SettingsError.
    """
    _check_order(run, what)
    token = account.sign_in(token)
    with quiet() as pauses_told:
        delivery = HubCommit(_api(token), repository, should_stop, pauses_told)
        try:
            return (yield from _steps(delivery, run, what, private, license))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(delivery)) from None
        except GeneratorExit:
            delivery.withdraw()
            raise
        except Exception as error:
            told = refusal(error, delivery.repository, token)
            raise type(told)(f"{told}{delivery.withdraw()}") from error


def _steps(
    delivery: HubCommit, run: str | Path | Run, what: str, private: bool, license: str | None
) -> Generator[Event, None, Published]:
    exists, private = yield from _find_place(delivery, private)
    with _scratch() as scratch:
        bundle = yield from _fill(delivery, scratch / "bundle", run, what, private, license)
        files = {path.name: FileDigest.of(path) for path in sorted(bundle.folder.iterdir())}
        sizes = {name: file.bytes for name, file in files.items()}
        told = {
            "repository": delivery.repository,
            "private": private,
            "what": bundle.what,
            "files": sizes,
            "bytes": sum(sizes.values()),
        }
        yield Checked(exists=exists, **told)
        before = delivery.head if exists else None
        commit = yield from delivery.deliver(files, private, _message(bundle))
        yield Verifying()
        yield from reading_back(delivery, files, bundle, scratch / "back")
    published = Published(url=delivery.url, commit=commit, changed=commit != before, **told)
    yield published
    return published


def _check_order(run: str | Path | Run, what: str) -> None:
    if what not in WHAT:
        raise SettingsError(f"what must be one of {', '.join(WHAT)}, found {what!r}")
    if not isinstance(run, Run) and not Path(run).expanduser().is_dir():
        raise RunError(
            f"expected a run folder or an exported one, found none called {Path(run).name!r}; "
            "check its name"
        )


def _api(token: str) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(token=token)


def _find_place(delivery: HubCommit, private: bool) -> Generator[Waiting, None, tuple[bool, bool]]:
    """(whether the repository exists, whether it is private); its name becomes the whole one."""
    answer = yield from delivery.ask(delivery.api.whoami, REQUEST_SECONDS, offline_at_once=True)
    owner = account.read_account(answer)
    delivery.repository = account.full_name(delivery.repository, owner)
    account.check_rights(owner, delivery.repository)
    info = yield from delivery.look()
    if info is None:
        return False, private
    account.check_rights(owner, account.full_name(info.id, owner))
    if info.disabled:
        raise PublishError(f"the Hub has disabled {info.id}; publish under another name")
    return True, bool(info.private)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that nobody else can read, gone afterwards."""
    place = private_folder("publish")
    _remove_leftovers(place)
    folder = Path(tempfile.mkdtemp(dir=place))
    try:
        (folder / "bundle").mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """What publishes left that were killed, which may be a whole network."""
    for folder in place.iterdir():
        with suppress(OSError):  # somebody else was quicker
            if time.time() - folder.stat().st_mtime > LONGEST_SECONDS:
                shutil.rmtree(folder)


def _fill(
    delivery: HubCommit,
    folder: Path,
    run: str | Path | Run,
    what: str,
    private: bool,
    license: str | None,
) -> Generator[Waiting, None, "Bundle"]:
    """All files of the repository, with a card that keeps what a person wrote into the last one."""
    from transfer.publishing.bundle import write_bundle
    from transfer.publishing.card import is_public, write_card

    source = read_source(run)
    public = source is not None and is_public(source)
    bundle = write_bundle(source or run, what, folder, public=public)
    previous = yield from _previous_card(delivery, folder.with_name("before"))
    write_card(
        bundle,
        delivery.repository,
        license=license,
        private=private,
        source_is_public=public,
        previous=previous,
    )
    return bundle


def read_source(run: str | Path | Run) -> Run | None:
    """The run that is published; None for an exported folder, which does not tell."""
    if isinstance(run, Run) or not (Path(run).expanduser() / RECORD).exists():
        return run if isinstance(run, Run) else None
    return read_run(run)


def _previous_card(delivery: HubCommit, folder: Path) -> Generator[Waiting, None, str | None]:
    if CARD not in delivery.names:
        return None
    path = yield from downloading(delivery, CARD, delivery.head, folder)
    return path.read_bytes().decode("utf-8", "surrogateescape")  # line ends too


def _message(bundle: "Bundle") -> str:
    return f"{len(bundle.classes)} classes, {'head' if bundle.what == 'head' else 'whole network'}"


def _interrupted(delivery: HubCommit) -> str:
    if delivery.commit:
        return f"interrupted; all files had gone to {delivery.url}, they were not read back"
    if left := delivery.withdraw():
        return f"interrupted{left}"
    if delivery.committing and not delivery.made:
        return f"interrupted while the Hub took the commit; look whether {delivery.url} holds it"
    return "interrupted; nothing was published"
