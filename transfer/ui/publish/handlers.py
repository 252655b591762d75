"""What the Publish tab does: list what will be published of a run, publish it, or make a zip."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from tempfile import TemporaryDirectory

import gradio as gr

from transfer import hub
from transfer.errors import PublishError, TransferError
from transfer.jobs import JobManager, ListedRun
from transfer.publishing import Event, write_files
from transfer.publishing.bundle import WHATS
from transfer.ui.publish import text
from transfer.ui.publish.form import PublishForm, as_request, check_what, publish_guarded
from transfer.ui.publish.queue import PublishQueue, PublishTask
from transfer.ui.publish.summary import PublishSummary, summarize, with_license
from transfer.ui.shared.components import no_updates
from transfer.ui.shared.downloads import Downloads, zip_folder
from transfer.ui.shared.session import as_message, require_visitor
from transfer.ui.shared.sign_in import sign_in_available, sign_in_label

SECONDS_BETWEEN_UPDATES = 0.4
WATCHED = 3  # components
LICENSES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "openrail"),
)


class PublishHandlers:
    """Each handler checks its input, since anybody can post to it.

    On a `shared` server visitors publish with their own sign-in to the Hub; elsewhere with a token
    that they type, or with that of this machine.
    """

    def __init__(self, jobs: JobManager, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self.queue = PublishQueue()
        self.downloads = Downloads()

    def listed(self, visitor: str, selected: str | None):
        """The runs that this visitor may publish; the selected one stays if it still exists."""
        runs = self.jobs.runs_of(visitor)
        choices = [(f"{run.name}, test accuracy {run.accuracy:.1%}", run.id) for run in runs]
        ids = [run.id for run in runs]
        if selected in ids:
            return gr.Dropdown(choices=choices)
        return gr.Dropdown(choices=choices, value=next(iter(ids), None))

    def select(self, visitor: str, run_id: str | None, account: str) -> tuple:
        """(what can be published of a run, the proposed repository, no license yet)."""
        try:
            found = self._summary(visitor, run_id)
        except TransferError:
            return gr.Radio(), "", gr.Dropdown()
        ways = gr.Radio(
            choices=[(_title(found, what), what) for what in WHATS],
            value=next(iter(found.files), "head"),
        )
        name = f"{account}/{found.name}" if account else found.name
        return ways, name, gr.Dropdown(value="", allow_custom_value=True)

    def describe(self, visitor: str, run_id: str | None, what: str) -> Iterator[tuple]:
        """(the licenses to choose from, what will be published); again once the Hub answered."""
        if not run_id:
            yield gr.Dropdown(), text.NO_RUN
            return
        try:
            found = self._summary(visitor, run_id)
            check_what(what)
            if found.dataset:
                yield gr.Dropdown(), text.summary(found, what)
            found = with_license(found)
            yield gr.Dropdown(**license_choices(found.license)), text.summary(found, what)
        except TransferError as error:
            yield gr.Dropdown(), text.refusal(str(error))

    def account(self) -> tuple[str, str]:
        """(the name of this machine's account, a line about it)."""
        from huggingface_hub import get_token, whoami
        from huggingface_hub.errors import HfHubHTTPError

        if not (token := get_token()):
            return "", text.about(text.NOT_SIGNED_IN)
        try:  # cached by the client: the Hub answers this request only so often
            answer = hub.with_deadline(lambda: whoami(token, cache=True))
            return answer["name"], text.signed_in(answer["name"])
        except HfHubHTTPError:
            return "", text.about(text.TOKEN_UNKNOWN)
        except Exception:  # no answer, or one of an unknown form
            return "", text.about(text.ACCOUNT_UNKNOWN)

    def account_on_a_space(self, profile: gr.OAuthProfile | None) -> tuple:
        """The same of the visitor who signed in, and the button to sign in or out."""
        if profile is not None:
            name = profile.username
            return name, text.signed_in(name), sign_in_label(name)
        why = text.NOT_SIGNED_IN_ON_A_SPACE if sign_in_available() else text.NO_SIGN_IN
        return "", text.about(why), sign_in_label("")

    def with_owner(self, account: str, repository: str):
        """Put the account before a name without an owner; anything else stays as it is."""
        if not isinstance(account, str) or not isinstance(repository, str):
            return gr.skip()
        name = repository.strip()
        return f"{account}/{name}" if account and name and "/" not in name else gr.skip()

    @as_message()
    def start(self, form: PublishForm) -> tuple:
        """Publish with the form's token, else with this machine's; what `watch` shows."""
        return _shown(self.queue.start(require_visitor(form.visitor), partial(self._steps, form)))

    def check_sign_in(self, token: gr.OAuthToken | None) -> str:
        """The token of the visitor's own sign-in. An error is shown at once and is not stored."""
        if token is None:
            why = text.SIGN_IN_FIRST if sign_in_available() else text.NO_SIGN_IN
            raise gr.Error(why, print_exception=False)
        return token.token

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """(status, publish button, cancel button) of this visitor's newest upload, whenever they
        change; no updates if there is none."""
        task, status = self.queue.newest_of(visitor), ""
        if task is None:
            yield no_updates(WATCHED)
        while task is not None:
            live = task.live  # read before its status, so that the end is shown too
            if (now := text.status(task)) != status:
                status = now
                yield _shown(task)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_UPDATES)
            task = self.queue.newest_of(visitor)

    def cancel(self, visitor: str) -> tuple:
        """Cancel this visitor's upload; what `watch` shows."""
        return _shown(self.queue.cancel(require_visitor(visitor)))

    @as_message()
    def zipped(self, form: PublishForm) -> str:
        """The path of a zip of what would be published; the zip is removed after a while."""
        request = as_request(form, self._run(form.visitor, form.run_id).path)
        folder = self.downloads.new_folder(form.visitor)
        with TemporaryDirectory(dir=folder) as files:
            made = write_files(request, folder / files)
            name = request.repository.rpartition("/")[2]
            return str(zip_folder(made.folder, folder / f"{name}.zip"))

    def _run(self, visitor: str, run_id: str | None) -> ListedRun:
        """Raises JobError if it is no run of this visitor's."""
        return self.jobs.run_of(require_visitor(visitor), run_id)

    def _summary(self, visitor: str, run_id: str | None) -> PublishSummary:
        run = self._run(visitor, run_id)
        return summarize(run.path, run.name)

    def _steps(self, form: PublishForm, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """The form is checked here, so that its errors are shown where later ones are."""
        request = as_request(form, self._run(form.visitor, form.run_id).path)
        try:
            yield from publish_guarded(request, should_stop)
        except PublishError as error:
            if not self.shared:
                raise
            raise PublishError(text.for_sign_in(str(error))) from None


def license_choices(known: str = "") -> dict:
    """The license that follows from body and images, else all to choose from."""
    choices = [(known, "")] if known else [("Leave out", ""), *LICENSES]
    return {"choices": choices, "interactive": not known}


def _shown(task: PublishTask | None) -> tuple:
    live = task is not None and task.live
    can_cancel = live and not task.stopping
    return text.status(task), gr.Button(interactive=not live), gr.Button(interactive=can_cancel)


def _title(found: PublishSummary, what: str) -> str:
    title = text.WHAT_TITLES[what]
    if what not in found.files:
        return f"{title}, not possible"
    return f"{title}, {text.total_size(found, what)}"
