"""The texts of the Publish tab: what will be published, who is signed in, and progress."""

from html import escape

from transfer.formatting import byte_size, counted, isolated
from transfer.publishing import Checked, Event, Published, Sending, Verifying, Waiting
from transfer.publishing.account import TOKENS_PAGE
from transfer.publishing.bundle import DATASET
from transfer.publishing.hub_repository import CARD
from transfer.publishing.queue import STOPPED, PublishTask
from transfer.publishing.summary import PublishSummary, meanings
from transfer.ui.shared.components import progress_bar, warning
from transfer.ui.shared.components import status as panel

WHAT_TITLES = {
    "head": "Changed weights only",
    "full": "Full network",
    "page": "Web page with ONNX, no server needed",
    DATASET: "Photos in class folders",
}
CONSENT = "Everybody may see these photos"
WHAT_INFO = (
    "The changed weights are small; this project adds the rest of VGG16 when it loads them. The "
    "full network opens in timm and transformers without this project. The web page classifies in "
    "anybody's browser: a static Space, or any host."
)
PHOTOS_INFO = "A dataset that this app, the library datasets and many other programs read."
NO_RUN = (
    '<div class="bundle"><b>No finished run yet</b>'
    "<p>Train one first, or make classes of your own photos. The files that will be published are "
    "then listed here.</p></div>"
)
CONTINUES = "<p>Publishing continues if you close this page; come back to see how it went.</p>"
NOT_SIGNED_IN = (
    f'Not signed in. <a href="{TOKENS_PAGE}" target="_blank" rel="noopener noreferrer">Create a '
    "token with write access</a> and paste it here, or run <code>hf auth login</code>."
)
NOT_SIGNED_IN_ON_A_SPACE = "Not signed in. Sign in to publish under your own name."
NO_SIGN_IN = "Sign-in is not available on this server. Download the zip and publish it yourself."
SIGN_IN_FIRST = (
    "You are not signed in, or your sign-in has expired. Sign in, then press Publish again."
)
ACCOUNT_UNKNOWN = "Signed in on this machine. The Hub does not answer, so the account is unknown."
TOKEN_UNKNOWN = "The Hub no longer accepts the token of this machine. Paste another one."


def about(html: str) -> str:
    return f'<p class="about">{html}</p>'


def signed_in(name: str) -> str:
    """`name` is that of an account on the Hub."""
    return about(f"Signed in to the Hub as <b>{escape(name)}</b>.")


def summary(found: PublishSummary, what: str) -> str:
    """What will be published: files with their sizes, photos and the license."""
    if what not in found.files:
        return f'<div class="bundle">{warning(found.refused[what])}</div>'
    known, sizes = meanings(found, what), found.files[what].items()
    rows = [(name, known[name], size_of(*size)) for name, size in sizes]
    notes = [_photos(found, what)]
    if found.license:
        license = escape(found.license)
        notes.append(f"License: {license}, which follows from the body and the images.")
    return _bundle(f"about {total_size(found, what)}", rows, *notes)


def photos_title(counts: dict[str, int]) -> str:
    """`Your own photos: 12 photos in 2 classes`."""
    number = counted(sum(counts.values()), "photo")
    return f"Your own photos: {number} in {counted(len(counts), 'class')}"


def photos_summary(counts: dict[str, int], size: int, private: bool) -> str:
    """What will be published of one's own photos, and who will see it."""
    rows = [(escape(isolated(name)), "", counted(n, "photo")) for name, n in counts.items()]
    rows.append((CARD, "the dataset card: classes, counts, how to load it", ""))
    seen = "<b>Everybody can see and copy them.</b>"
    if private:
        seen = "Only you, or the members of your organization, can see them."
    note = (
        "The photos are sent as JPEG files without place, time, camera and file name. The names of "
        "the classes are sent. Photos that are in the repository already stay as they are."
    )
    total = f"{counted(sum(counts.values()), 'photo')}, about {byte_size(size)}"
    return _bundle(total, rows, f"{note} {seen}")


def _bundle(total: str, rows: list[tuple[str, str, str]], *notes: str) -> str:
    """`rows` are (name, meaning, size) of what will be published."""
    items = "".join(f"<li><b>{n}</b><span>{m}</span><b>{s}</b></li>" for n, m, s in rows)
    below = "".join(f"<p>{note}</p>" for note in notes)
    return (
        f'<div class="bundle"><b>What will be published: {total}</b><ul class="files">{items}</ul>'
        f"{below}</div>"
    )


def _photos(found: PublishSummary, what: str) -> str:
    """Whether photos will be public; a page holds none in any case."""
    if what == "page" or not (found.dataset or found.public):
        return (
            "No photos and no file names of photos are sent. The names of your classes and the "
            f"name of the images, “{escape(found.source)}”, are sent."
        )
    if found.public is None:
        return "Asking the Hub whether the images are public …"
    if found.public:
        return (
            "The images are public, so mistakes.png shows some of the misclassified ones, three "
            "test images are sent as examples, and report.json lists names. No path of this "
            "machine is sent."
        )
    return (
        f"Photos of {escape(found.dataset)} and their file names are sent only if the Hub says "
        "that everyone may see that dataset, which it does not say now. No path of this machine "
        "is sent."
    )


def total_size(found: PublishSummary, what: str) -> str:
    if what not in found.files:
        return "not possible"
    least, most = zip(*found.files[what].values(), strict=True)
    return size_of(sum(least), sum(most))


def size_of(least: int, most: int) -> str:
    """`61.3 MB`, or `1.2 MB to 2.3 MB` where it is not known yet."""
    low, high = byte_size(least), byte_size(most)
    return low if low == high else f"{low} to {high}"


def status(task: PublishTask | None) -> str:
    """Headline, detail and a progress bar. What changes all the time is not read out."""
    announced, silent, failed = "<b>Nothing is being published.</b>" + CONTINUES, "", ""
    if task is not None and task.error:
        announced, failed = _failure(task), "failed"
    elif task is not None and isinstance(task.event, Published):
        announced = _success(task.event)
    elif task is not None:
        headline, detail = _progress(task)
        announced = f"<b>{escape(headline)}</b>"
        silent = f"<p>{escape(detail)}</p>{progress_bar(_share(task.event))}{CONTINUES}"
    return panel(announced, silent, f"sent {failed}")


def _progress(task: PublishTask) -> tuple[str, str]:
    """(headline, detail)."""
    if task.stopping:
        return "Cancelling", "The upload ends before its next step and leaves nothing behind."
    place = _place(task.checked) if task.checked else ""
    match task.event:
        case None if task.waiting:
            return "Waiting in line", "Others are publishing; yours starts after them."
        case Waiting(seconds=seconds, why=why):
            return f"Waiting: {why}", f"Trying again in {seconds:.0f} s. {place}"
        case Checked():
            return "Ready to send", place
        case Sending(total_bytes=total):
            return f"Sending {byte_size(total)}", place
        case Verifying():
            return "Sent; comparing the files on the Hub", place
    return "Preparing the files and asking the Hub", "This takes a few seconds."


def _share(event: Event | None) -> float | None:
    """How much of the files is there, once some are."""
    sent = isinstance(event, Sending) and event.sent_bytes
    return sent / event.total_bytes if sent else None


def _place(checked: Checked) -> str:
    return (
        f"{len(checked.files)} files, {byte_size(checked.bytes)}, to "
        f"{'the' if checked.exists else 'a new'} {'private' if checked.private else 'public'} "
        f"repository {checked.repository}."
    )


def _success(event: Published) -> str:
    link = (
        f'<a href="{escape(event.url)}" target="_blank" rel="noopener noreferrer">'
        f"{escape(event.repository)}</a>"
    )
    headline = "Published" if event.changed else "Already up to date"
    calls = {
        "head": f'transfer.load("{event.repository}")',
        "full": f'timm.create_model("hf-hub:{event.repository}", pretrained=True)',
        DATASET: f'datasets.load_dataset("{event.repository}")',
    }
    use = "open the link in any browser"  # of a page
    if call := calls.get(event.what):
        use = f"<code>{escape(call)}</code>"
    return (
        f"<b>{headline}: {link}</b><p>{'Private' if event.private else 'Public'}, "
        f"{len(event.files)} files, {byte_size(event.bytes)}, commit "
        f"{escape(event.commit[:12])}, verified.</p><p>Use it: {use}</p>"
    )


def _failure(task: PublishTask) -> str:
    if task.error == STOPPED:
        return "<b>Cancelled</b><p>Nothing was published, and nothing is left behind.</p>"
    headline = "Sent, but not verified" if isinstance(task.event, Verifying) else "Not published"
    advice = ""
    if task.event is not None:
        advice = "<p>Nothing has changed here. Publishing again sends only what is missing.</p>"
    sentence = task.error[0].upper() + task.error[1:]
    return f"<b>{headline}</b><p>{escape(sentence)}.</p>{advice}"
