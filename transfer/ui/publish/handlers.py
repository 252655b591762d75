"""What the Publish tab does: list what will be published of a run, or of the visitor's photos,
publish it, or make a zip."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from tempfile import TemporaryDirectory

import gradio as gr

from transfer import hub
from transfer.errors import JobError, PublishError, TransferError
from transfer.formatting import byte_size
from transfer.jobs import JobManager, ListedRun
from transfer.jobs.job import hashed
from transfer.publishing import PublishRequest, write_files
from transfer.publishing.bundle import DATASET, WHATS
from transfer.publishing.photos import read_photos
from transfer.publishing.queue import PublishQueue, PublishTask
from transfer.publishing.summary import PublishSummary, photo_bytes, summarize, with_license
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.publish import text
from transfer.ui.shared.components import run_choices, warning
from transfer.ui.shared.downloads import Downloads, zip_folder
from transfer.ui.shared.loaded_runs import cached_run, with_accuracy
from transfer.ui.shared.session import as_message, require_visitor
from transfer.ui.shared.sign_in import sign_in_available, sign_in_label

PHOTOS = "/photos"  # in the place of a run: one's own. Names of runs have no slash
PHOTOS_NAME = "own-photos"
SECONDS_BETWEEN_UPDATES = 0.4
LICENSES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "openrail"),
)


class PublishHandlers:
    """Each handler checks its input, since anybody can post to it.

    On a `shared` server visitors publish with their own sign-in to the Hub; elsewhere with a token
    that they type, or with that of this machine. `form` holds the arguments of `_request`.
    """

    def __init__(self, jobs: JobManager, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self.uploads = UploadHandlers(jobs)
        self.queue = PublishQueue()
        self.downloads = Downloads()

    def listed(self, visitor: str, selected: str | None) -> gr.Dropdown:
        """The runs that this visitor may publish, and their photos if there are any."""
        counts = self.uploads.images(visitor).counts()
        own = [(text.photos_title(counts), PHOTOS)] if any(counts.values()) else []
        return run_choices([*with_accuracy(self.jobs.finished.of(visitor)), *own], selected)

    def select(self, visitor: str, run_id: str | None) -> tuple:
        """(what can be published of a run, the proposed repository, no license yet)."""
        if run_id == PHOTOS:
            sizes = {DATASET: byte_size(photo_bytes(self.uploads.images(visitor)))}
            first, name, info = DATASET, PHOTOS_NAME, text.PHOTOS_INFO
        else:
            try:
                found = self._summary(visitor, run_id)
            except TransferError:
                return gr.Radio(), "", gr.Dropdown()
            sizes = {what: text.total_size(found, what) for what in WHATS}
            first, name, info = next(iter(found.files), "head"), found.name, text.WHAT_INFO
        choices = [(f"{text.WHAT_TITLES[what]}, {size}", what) for what, size in sizes.items()]
        no_license = gr.Dropdown(value="", allow_custom_value=True)
        return gr.Radio(choices=choices, value=first, info=info), name, no_license

    def describe(
        self, visitor: str, run_id: str | None, what: str, private: bool = True
    ) -> Iterator[tuple]:
        """(the licenses to choose from, what will be published); again once the Hub answered."""
        license, page = "", text.NO_RUN
        try:
            if run_id == PHOTOS:
                images = read_photos(self.uploads.images(visitor).folder)
                page = text.photos_summary(images.counts(), photo_bytes(images), private)
            elif run_id:
                found = self._summary(visitor, run_id)
                if found.dataset:
                    yield gr.Dropdown(), text.summary(found, what)
                found = with_license(found)
                license, page = found.license, text.summary(found, what)
            yield gr.Dropdown(**license_choices(license)), page
        except TransferError as error:
            yield gr.Dropdown(), warning(error)

    def consent(self, run_id: str | None, private: bool) -> gr.Checkbox:
        """Whether everybody may see the photos, asked each time that it matters."""
        return gr.Checkbox(False, visible=run_id == PHOTOS and not private)

    def account(self) -> tuple[str, str]:
        """(the name of this machine's account, a line about it)."""
        from huggingface_hub import get_token, whoami
        from huggingface_hub.errors import HfHubHTTPError

        if not (token := get_token()):
            return "", text.about(text.NOT_SIGNED_IN)
        try:  # cached by the client: the Hub answers this request only so often
            name = hub.with_deadline(lambda: whoami(token, cache=True))["name"]
            return name, text.signed_in(name)
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

    def with_owner(self, account: str, repository: str | None):
        """Put the account before a name without an owner; anything else stays as it is."""
        name = (repository or "").strip()
        return f"{account}/{name}" if account and name and "/" not in name else gr.skip()

    @as_message()
    def start(self, *, consent: bool | None = None, **form) -> tuple:
        """Publish with the typed token, else this machine's; what `watch` shows, and no token."""
        request = self._request(**form)
        if request.what == DATASET and not request.private and consent is not True:
            raise PublishError(
                f"expected your consent for a public dataset; tick “{text.CONSENT}”, or turn "
                "Private on"
            )
        return *_shown(self.queue.start(hashed(form["visitor"]), request)), ""

    @as_message()
    def start_signed_in(self, token: gr.OAuthToken | None, **form) -> tuple:
        """Publish with the visitor's own sign-in; what `watch` shows."""
        if token is None:
            why = text.SIGN_IN_FIRST if sign_in_available() else text.NO_SIGN_IN
            raise gr.Error(why, print_exception=False)
        *shown, _ = self.start(**form | {"token": token.token})
        return tuple(shown)

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """(status, publish button, cancel button) of the newest upload, whenever they change."""
        live, shown = True, ""
        while live:
            task = self.queue.newest_of(hashed(visitor))
            live = task is not None and task.live  # read before the status, to show the end too
            if (status := text.status(task)) != shown:
                shown = status
                yield _shown(task)
            if live:
                await asyncio.sleep(SECONDS_BETWEEN_UPDATES)

    def cancel(self, visitor: str) -> tuple:
        """Cancel this visitor's upload; what `watch` shows."""
        return _shown(self.queue.cancel(hashed(require_visitor(visitor))))

    @as_message()
    def zipped(self, **form) -> str:
        """The path of a zip of what would be published; the zip is removed after a while."""
        request = self._request(**form)
        folder = self.downloads.new_folder(form["visitor"])
        with TemporaryDirectory(dir=folder) as files:
            made = write_files(request, folder / files)
            name = request.repository.rpartition("/")[2]
            return str(zip_folder(made.folder, folder / f"{name}.zip"))

    def _run(self, visitor: str, run_id: str | None) -> ListedRun:
        """Raises JobError if it is no run of this visitor's."""
        return self.jobs.finished.get(run_id, require_visitor(visitor))

    def _summary(self, visitor: str, run_id: str | None) -> PublishSummary:
        run = self._run(visitor, run_id)
        return summarize(cached_run(run.path), run.title or run.source)

    def _request(self, visitor: str, run_id: str | None, what: str, **entered) -> PublishRequest:
        """Photos are published as a dataset and runs as models, whatever was posted."""
        if run_id == PHOTOS:
            run, what = self.uploads.images(visitor).folder, DATASET
        elif what == DATASET:
            raise JobError("expected your own photos for a dataset; choose them under Run")
        else:
            run = self._run(visitor, run_id).path
        return PublishRequest(
            run=run,
            what=what,
            repository=(entered["repository"] or "").strip(),
            private=entered["private"] is not False,
            license=entered["license"] or None,
            token=(entered.get("token") or "").strip() or None,
        )


def license_choices(known: str = "") -> dict:
    """The license that follows from body and images, else all to choose from."""
    choices = [(known, "")] if known else [("Leave out", ""), *LICENSES]
    return {"choices": choices, "interactive": not known}


def _shown(task: PublishTask | None) -> tuple:
    live = task is not None and task.live
    can_cancel = live and not task.stopping
    return text.status(task), gr.Button(interactive=not live), gr.Button(interactive=can_cancel)
