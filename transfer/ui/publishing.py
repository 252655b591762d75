"""What the Publish tab does: say what would be sent of a run, send it, or give it as a zip."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gradio as gr

from transfer import account, hub
from transfer.bundle import WHATS
from transfer.errors import JobError, PublishError, SettingsError, TransferError
from transfer.jobs import Jobs, ListedRun
from transfer.publish import Checked, Event, publishing
from transfer.ui import publish_words as words
from transfer.ui.downloads import Downloads, zipped
from transfer.ui.offer import Known, Offer, known_of, offer
from transfer.ui.outbox import Outbox, Parcel
from transfer.ui.visitor import as_message, known

SECONDS_BETWEEN_LOOKS = 0.4
SECONDS_AN_ACCOUNT_IS_KNOWN = 60.0
LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "openrail"),
)
LABELS = {"head": "Only what changed", "full": "The whole network"}
LONGEST_TOKEN = 2_000
A_TOKEN = re.compile(r"\s*hf_|hf_\w{30}")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a visitor wants published, checked; the token is in no text made of it."""

    path: Path
    repository: str
    what: str
    private: bool
    licence: str | None
    token: str | None = field(repr=False)


class Publishing:
    """Handlers over a visitor's finished runs; each checks its input, since anybody can post to it.

    On a `shared` server only who signed in with the Hub publishes; elsewhere a token may be typed,
    or it is that of this machine's user.
    """

    def __init__(self, jobs: Jobs, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self.outbox = Outbox()
        self.downloads = Downloads()
        self._account: tuple[float, str, str] = (0.0, "", "")

    def listed(self, visitor: str, chosen: str | None):
        """The runs that this visitor may publish."""
        runs = self.jobs.runs_of(visitor)
        names = [(f"{run.name}, {run.accuracy:.1%} right", run.id) for run in runs]
        ids = [run.id for run in runs]
        return gr.Dropdown(choices=names, value=chosen if chosen in ids else next(iter(ids), None))

    def chosen(self, visitor: str, run_id: str | None, name: str) -> Iterator[tuple]:
        """(the ways to publish a run, its name there, its licence, what will be sent); `name` is
        the account's. What the Hub must be asked for comes second."""
        if not run_id:
            yield gr.Radio(), "", gr.update(visible=False), words.NO_RUN
            return
        try:
            run = self._of(visitor, run_id)
            offered = offer(run.path, run.name)
        except TransferError as error:
            yield gr.Radio(), "", gr.update(visible=False), words.refusal(str(error))
            return
        ways = [(_way(offered, what), what) for what in WHATS]
        what = next(iter(offered.bytes), "head")
        place = f"{name}/{offered.name}" if isinstance(name, str) and name else offered.name
        first = gr.Radio(choices=ways, value=what), place
        if offered.hub_set:
            yield *first, gr.Dropdown(), words.bundle(offered, what, None)
        found = known_of(run.path)
        licence = gr.update(visible=not found.licence, value="")
        yield *first, licence, words.bundle(offered, what, found)

    def told(self, visitor: str, run_id: str | None, what: str) -> str:
        """What will be sent that way."""
        if not run_id:
            return words.NO_RUN
        try:
            offered, found = self._offered(visitor, run_id)
            return words.bundle(offered, _one_of(WHATS, what, "what to publish"), found)
        except TransferError as error:
            return words.refusal(str(error))

    def whose(self, repository: str):
        """(who is signed in on this machine, the account's name, the repository with it)."""
        name, why = self._signed_in()
        place = repository if isinstance(repository, str) else ""
        if name and place and "/" not in place:
            place = f"{name}/{place}"
        return words.signed_in(name, why), name, place

    def whose_on_a_space(self, repository: str, profile: gr.OAuthProfile | None):
        """`whose`, of the visitor who signed in there."""
        name = profile.username if profile is not None else ""
        place = repository if isinstance(repository, str) else ""
        if name and place and "/" not in place:
            place = f"{name}/{place}"
        return words.signed_in(name, words.NOT_SIGNED_IN_ON_A_SPACE), name, place

    def start(self, visitor, run_id, what, repository, private, licence, token):
        """Begin to publish with a typed token, or with this machine's; what `watch` shows, and an
        empty field for the token."""
        order = partial(
            self._order, visitor, run_id, what, repository, private, licence, _token(token)
        )
        return *self._begin(visitor, order), ""

    def start_signed_in(
        self, visitor, run_id, what, repository, private, licence, oauth: gr.OAuthToken | None
    ):
        """Begin to publish as who signed in with the Hub; what `watch` shows."""
        token = oauth.token if oauth is not None else None
        order = partial(self._order, visitor, run_id, what, repository, private, licence, token)
        return self._begin(visitor, order)

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What the page shows of this visitor's newest publish, whenever that changes."""
        seen = None
        while True:
            parcel = self.outbox.newest_of(visitor)
            live = parcel is not None and parcel.live  # before it is shown, so that its end is too
            now = (id(parcel), parcel.version) if parcel else None
            if parcel is None or now != seen:
                seen = now
                yield _shown(parcel)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def cancel(self, visitor: str):
        """End this visitor's publish, and nobody else's; what `watch` shows."""
        return _shown(self.outbox.cancel(known(visitor)))

    def zipped(self, visitor, run_id, what, repository, private, licence) -> str:
        """The path of a zip of what would be published, which is gone again after a while."""
        with as_message():
            order = self._order(visitor, run_id, what, repository, private, licence, None)
            return str(self._zip(order))

    def _begin(self, visitor: str, order: Callable[[], Order]) -> tuple:
        with as_message():
            return _shown(self.outbox.start(known(visitor), partial(self._steps, order)))

    def _steps(self, order: Callable[[], Order], should_stop: Callable[[], bool]):
        """What is wrong with the order is told as what goes wrong later is: in the tab."""
        wanted = order()
        if self.shared and wanted.token is None:
            raise PublishError("expected you to be signed in to the Hub; sign in first, above")
        return _sent(wanted, should_stop)

    def _order(self, visitor, run_id, what, repository, private, licence, token) -> Order:
        """Raises TransferError; what was typed is not repeated where it could be a token."""
        run = self._of(visitor, run_id)
        if not isinstance(private, bool):
            raise SettingsError("private must be yes or no; tick the box or leave it empty")
        return Order(
            path=run.path,
            repository=_repository(repository),
            what=_one_of(WHATS, what, "what to publish"),
            private=private,
            licence=_one_of(("", *LICENCES), licence or "", "the licence") or None,
            token=token,
        )

    def _zip(self, order: Order) -> Path:
        from transfer.bundle import write_bundle
        from transfer.card import is_public, write_card
        from transfer.publish import read_source

        folder, source = self.downloads.new_folder(), read_source(order.path)
        public = is_public(source)
        made = write_bundle(source, order.what, folder / "files", public=public)
        write_card(
            made,
            order.repository,
            license=order.licence,
            private=order.private,
            source_is_public=public,
        )
        name = order.repository.rpartition("/")[2]
        return zipped(made.folder, folder / f"{name}.zip")

    def _offered(self, visitor: str, run_id: str) -> tuple[Offer, Known]:
        run = self._of(visitor, run_id)
        return offer(run.path, run.name), known_of(run.path)

    def _of(self, visitor: str, run_id: str | None) -> ListedRun:
        """Raises JobError, for an id is looked up, never taken as a path."""
        for run in self.jobs.runs_of(known(visitor)):
            if run.id == run_id:
                return run
        raise JobError("expected a finished run of yours, found none; choose one from the list")

    def _signed_in(self) -> tuple[str, str]:
        """(the name of this machine's account on the Hub, what is known where that is not)."""
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HfHubHTTPError

        token = get_token()
        if not token:
            return "", words.NOT_SIGNED_IN
        asked, of, name = self._account
        mark = hashlib.sha256(token.encode()).hexdigest()
        if of == mark and time.monotonic() - asked < SECONDS_AN_ACCOUNT_IS_KNOWN:
            return name, ""
        try:
            answer = hub.ask(HfApi(token=token).whoami)
            name = account.read_account(answer).name
        except HfHubHTTPError:
            return "", words.TOKEN_IS_UNKNOWN
        except Exception:  # silence, or an answer that is none
            return "", words.WHOSE_IS_UNKNOWN
        self._account = time.monotonic(), mark, name
        return name, ""


def _sent(order: Order, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """What is to be private goes into no repository that is open."""
    events = publishing(
        order.path,
        order.repository,
        what=order.what,
        private=order.private,
        license=order.licence,
        token=order.token,
        should_stop=should_stop,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Checked) and order.private and not event.private:
                raise PublishError(
                    f"expected a private repository, found that {event.repository} is public; "
                    "choose another name, or take the tick from Private"
                )
            yield event


def _shown(parcel: Parcel | None) -> tuple:
    """(status, the button that publishes, the one that cancels)."""
    live = parcel is not None and parcel.live
    stopping = live and parcel.stopping
    return (
        words.status(parcel),
        gr.Button(interactive=not live),
        gr.Button(interactive=live and not stopping),
    )


def _way(offered: Offer, what: str) -> str:
    if what in offered.bytes:
        return f"{LABELS[what]}, {words.size_of(offered.bytes[what])}"
    return f"{LABELS[what]}, not possible"


def _token(token: str | None) -> str | None:
    """None where nothing was typed."""
    text = token.strip() if isinstance(token, str) else ""
    return text[:LONGEST_TOKEN] or None


def _repository(name: str | None) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = name.strip() if isinstance(name, str) else ""
    if A_TOKEN.search(text):
        raise PublishError(
            "expected the repository's name, found what looks like a token; type it into its own "
            "field, and make a new one on the Hub if others saw it"
        )
    try:
        validate_repo_id(text)
    except HFValidationError:
        raise PublishError(
            f"expected a repository's name like me/ants-bees, found {text[:100]!r}; use letters, "
            "digits, - _ and . in it, at most 96"
        ) from None
    return text


def _one_of(known_values: tuple[str, ...], value: str, name: str) -> str:
    if value not in known_values:
        raise SettingsError(f"expected {name} to be one that the page offers; choose it again")
    return value
