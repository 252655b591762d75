"""What the Publish tab does: say what would be sent of a run, send it, or give it as a zip."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr

from transfer import hub
from transfer.errors import PublishError, SettingsError, TransferError
from transfer.jobs import JobManager
from transfer.publishing import Event, write_files
from transfer.publishing.bundle import WHATS
from transfer.ui.publish import text as words
from transfer.ui.publish.form import (
    PublishForm,
    as_request,
    checked_licence,
    checked_repository,
    checked_token,
    one_of,
    sent,
)
from transfer.ui.publish.queue import PublishQueue, PublishTask
from transfer.ui.publish.summary import LicenseInfo, PublishSummary, known_of, offer
from transfer.ui.shared.components import no_updates
from transfer.ui.shared.downloads import Downloads, zipped
from transfer.ui.shared.session import as_message, require_visitor
from transfer.ui.shared.sign_in import sign_in_available, sign_in_label

SECONDS_BETWEEN_LOOKS = 0.4
SECONDS_AN_ACCOUNT_IS_KNOWN = 60.0
WATCHED = 3  # components
LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "openrail"),
)
LABELS = {"head": "Only what changed", "full": "The whole network"}


class PublishHandlers:
    """Handlers over a visitor's finished runs; each checks its input, since anybody can post to it.

    On a `shared` server only who signed in with the Hub publishes; elsewhere a token may be typed,
    or it is that of this machine's user.
    """

    def __init__(self, jobs: JobManager, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self.outbox = PublishQueue()
        self.downloads = Downloads()
        self._account: tuple[float, str, str] = (0.0, "", "")

    def listed(self, visitor: str, chosen: str | None):
        """The runs that this visitor may publish; the one that is chosen stays so while it is
        there."""
        runs = self.jobs.runs_of(visitor)
        names = [(f"{run.name}, {run.accuracy:.1%} right", run.id) for run in runs]
        ids = [run.id for run in runs]
        if chosen in ids:
            return gr.Dropdown(choices=names)
        return gr.Dropdown(choices=names, value=next(iter(ids), None))

    def chosen(self, visitor: str, run_id: str | None, name: str) -> Iterator[tuple]:
        """(the ways to publish a run, its name there, its licence, what will be sent); `name` is
        the account's. What the Hub must be asked for comes second."""
        if not run_id:
            yield gr.Radio(), "", gr.Dropdown(), words.NO_RUN
            return
        try:
            run = self.jobs.run_of(require_visitor(visitor), run_id)
            offered = offer(run.path, run.name)
        except TransferError as error:
            yield gr.Radio(), "", gr.Dropdown(), words.refusal(str(error))
            return
        ways = [(_way(offered, what), what) for what in WHATS]
        what = next(iter(offered.bytes), "head")
        place = f"{name}/{offered.name}" if isinstance(name, str) and name else offered.name
        first = gr.Radio(choices=ways, value=what), place
        if offered.hub_set:
            yield *first, gr.Dropdown(), words.bundle(offered, what, None)
        found = known_of(run.path)
        yield (
            *first,
            gr.Dropdown(**licence_choice(found.licence)),
            words.bundle(offered, what, found),
        )

    def told(self, visitor: str, run_id: str | None, what: str) -> str:
        """What will be sent that way."""
        if not run_id:
            return words.NO_RUN
        try:
            offered, found = self._offered(visitor, run_id)
            return words.bundle(offered, one_of(WHATS, what, "what to publish"), found)
        except TransferError as error:
            return words.refusal(str(error))

    def whose(self) -> tuple[str, str]:
        """(who is signed in on this machine, the account's name)."""
        name, why = self._signed_in()
        return words.signed_in(name, why), name

    def whose_on_a_space(self, profile: gr.OAuthProfile | None) -> tuple:
        """`whose`, of the visitor who signed in there, and the button to sign in or out."""
        if profile is not None:
            name = profile.username
            return words.signed_in(name), name, sign_in_label(name)
        why = words.NOT_SIGNED_IN_ON_A_SPACE if sign_in_available() else words.NO_SIGN_IN
        return words.signed_in(None, why), "", sign_in_label("")

    def placed(self, name: str, repository: str):
        """A bare name with the account's before it; whatever else stands there stays."""
        if not isinstance(name, str) or not isinstance(repository, str):
            return gr.skip()
        is_bare = bool(name) and bool(repository.strip()) and "/" not in repository
        return f"{name}/{repository.strip()}" if is_bare else gr.skip()

    def start(self, visitor, run_id, what, repository, private, licence, token):
        """Begin to publish with a typed token, or with this machine's; what `watch` shows, and an
        empty field for the token."""
        order = partial(
            self._order, visitor, run_id, what, repository, private, licence, checked_token(token)
        )
        return *self._begin(visitor, order), ""

    def start_signed_in(
        self, visitor, run_id, what, repository, private, licence, oauth: gr.OAuthToken | None
    ):
        """Begin to publish as who signed in with the Hub; what `watch` shows. To whom did not it is
        said at once, and is not kept to be shown beside a sign-in."""
        if oauth is None:
            why = words.SIGN_IN_FIRST if sign_in_available() else words.NO_SIGN_IN
            raise gr.Error(why, print_exception=False)
        order = partial(
            self._order, visitor, run_id, what, repository, private, licence, oauth.token
        )
        return self._begin(visitor, order)

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What the page shows of this visitor's newest publish, whenever that changes; nothing
        where there is none."""
        if self.outbox.newest_of(visitor) is None:
            yield no_updates(WATCHED)
            return
        seen = None
        while True:
            parcel = self.outbox.newest_of(visitor)
            live = parcel is not None and parcel.live  # before it is shown, so that its end is too
            now = (id(parcel), parcel.version) if parcel else None
            if now != seen:
                seen = now
                yield _shown(parcel)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def cancel(self, visitor: str):
        """End this visitor's publish, and nobody else's; what `watch` shows."""
        return _shown(self.outbox.cancel(require_visitor(visitor)))

    def zipped(self, visitor, run_id, what, repository, private, licence) -> str:
        """The path of a zip of what would be published, which is gone again after a while."""
        with as_message():
            order = self._order(visitor, run_id, what, repository, private, licence, None)
            return str(self._zip(visitor, order))

    def _begin(self, visitor: str, order: Callable[[], PublishForm]) -> tuple:
        with as_message():
            return _shown(self.outbox.start(require_visitor(visitor), partial(self._steps, order)))

    def _steps(self, order: Callable[[], PublishForm], should_stop: Callable[[], bool]):
        """What is wrong with the order is told as what goes wrong later is: in the tab."""
        wanted = order()
        events = sent(wanted, should_stop)
        return _as_signed_in(events) if self.shared else events

    def _order(self, visitor, run_id, what, repository, private, licence, token) -> PublishForm:
        """Raises TransferError; what was typed is not repeated where it could be a token."""
        run = self.jobs.run_of(require_visitor(visitor), run_id)
        if not isinstance(private, bool):
            raise SettingsError("private must be yes or no; tick the box or leave it empty")
        return PublishForm(
            path=run.path,
            repository=checked_repository(repository),
            what=one_of(WHATS, what, "what to publish"),
            private=private,
            licence=checked_licence(licence),
            token=token,
        )

    def _zip(self, visitor: str, order: PublishForm) -> Path:
        folder = self.downloads.new_folder(visitor)
        with TemporaryDirectory(dir=folder) as files:
            made = write_files(as_request(order), Path(files))
            name = order.repository.rpartition("/")[2]
            return zipped(made.folder, folder / f"{name}.zip")

    def _offered(self, visitor: str, run_id: str) -> tuple[PublishSummary, LicenseInfo]:
        run = self.jobs.run_of(require_visitor(visitor), run_id)
        return offer(run.path, run.name), known_of(run.path)

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
            answer = hub.with_deadline(HfApi(token=token).whoami)
            name = answer["name"]
        except HfHubHTTPError:
            return "", words.TOKEN_IS_UNKNOWN
        except Exception:  # silence, or an answer that is none
            return "", words.WHOSE_IS_UNKNOWN
        self._account = time.monotonic(), mark, name
        return name, ""


def licence_choice(named: str = "") -> dict:
    """What the field for a licence offers: all, or only that which the run's parts have."""
    choices = [(named, "")] if named else [("Leave out", ""), *LICENCES]
    return {"choices": choices, "value": "", "interactive": not named}


def _as_signed_in(events: Iterator[Event]) -> Iterator[Event]:
    """Who signed in with the Hub has no token to mend, and is told what to do instead."""
    try:
        yield from events
    except PublishError as error:
        raise PublishError(words.of_a_sign_in(str(error))) from None


def _shown(parcel: PublishTask | None) -> tuple:
    """(status, the button that publishes, the one that cancels)."""
    live = parcel is not None and parcel.live
    stopping = live and parcel.stopping
    return (
        words.status(parcel),
        gr.Button(interactive=not live),
        gr.Button(interactive=live and not stopping),
    )


def _way(offered: PublishSummary, what: str) -> str:
    if what in offered.bytes:
        return f"{LABELS[what]}, {words.size_of(offered.bytes[what], offered.most[what])}"
    return f"{LABELS[what]}, not possible"
