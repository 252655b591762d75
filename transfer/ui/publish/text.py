"""A publish in words: what will be sent, who is signed in, and how far it is."""

import re
from html import escape

from transfer.publishing import Checked, Published, Sending, Verifying, Waiting
from transfer.publishing.account import TOKENS_PAGE
from transfer.ui.publish.queue import STOPPED, PublishTask
from transfer.ui.publish.summary import CARD_BYTES, LicenseInfo, PublishSummary

NO_RUN = (
    '<div class="bundle"><b>There is no finished run yet.</b>'
    "<p>Train one first; what there is to publish of it will stand here.</p></div>"
)
LOOKING = "<p>Asking the Hub whether its images are open to everyone …</p>"
IDLE = "Nothing is being published."
STAYS = "It goes on if you close this page, and shows here when you come back."
MEANING = {
    "model.safetensors": {
        "head": "the head, and what moved of the body; the less where half precision moves no "
        "score",
        "full": "the whole network",
    },
    "run.json": "classes, settings and curves",
    "config.json": "how timm and transformers build it",
    "report.json": "accuracy and confusions on the test images",
}


def bundle(offered: PublishSummary, what: str, known: LicenseInfo | None) -> str:
    """What will be sent, before anything is; `known` is None while the Hub is asked."""
    if what not in offered.bytes:
        return f'<div class="bundle">{refusal(offered.refused[what])}</div>'
    rows = [_row(name, size, what) for name, size in offered.files[what].items()]
    pictures = "curves.png and confusion.png"
    if known is not None and known.public:
        pictures = "curves.png, confusion.png and mistakes.png"
    rows.append(
        f"<li><b>README.md</b><span>the model card, with {pictures}</span>"
        f"<b>{size_of(CARD_BYTES)}</b></li>"
    )
    sizes = size_of(offered.bytes[what], offered.most[what])
    told = LOOKING if known is None else _images(offered, known) + _licence(known)
    return (
        f'<div class="bundle"><b>What will be sent: about {sizes}</b>'
        f'<ul class="files">{"".join(rows)}</ul>{told}</div>'
    )


def _row(name: str, size: int, what: str) -> str:
    meaning = MEANING[name]
    meaning = meaning if isinstance(meaning, str) else meaning[what]
    twice = (name, what) == ("model.safetensors", "head")
    told = size_of(size, 2 * size if twice else size)
    return f"<li><b>{name}</b><span>{meaning}</span><b>{told}</b></li>"


def _images(offered: PublishSummary, known: LicenseInfo) -> str:
    if known.public:
        return (
            "<p>Its images are open to everyone, so mistakes.png shows some that it got wrong, and "
            "report.json has their names. No path of this machine is sent.</p>"
        )
    if offered.hub_set:
        return (
            f"<p>Photos of {escape(offered.hub_set)} and their file names are sent only if the Hub "
            "says that everyone may see that data set; now it does not. No path of this machine is "
            "sent.</p>"
        )
    return (
        "<p>No photo and no file name of a photo is sent. The names of your classes are, and that "
        f"the images are called “{escape(offered.source)}”.</p>"
    )


def _licence(known: LicenseInfo) -> str:
    if not known.licence:
        return ""
    return f"<p>Licence: {escape(known.licence)}, as its body and its images have it.</p>"


def size_of(size: int, most: int = 0) -> str:
    """`61.3 MB`, `840 kB`, `1.2 to 2.3 MB`."""
    unit = "MB" if max(size, most) >= 1e6 else "kB"
    low, high = (
        f"{n / 1e6:,.1f}" if unit == "MB" else f"{max(1, round(n / 1e3)):,}"
        for n in (size, max(size, most))
    )
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def signed_in(name: str | None, why: str = "") -> str:
    """`name` is the account's; without one, `why` says what is known instead."""
    if name:
        return f'<p class="about">Signed in to the Hub as <b>{escape(name)}</b>.</p>'
    return f'<p class="about">{why}</p>'


NOT_SIGNED_IN = (
    f'Not signed in. Make a token that may write <a href="{TOKENS_PAGE}" target="_blank" '
    'rel="noopener noreferrer">on the Hub</a> and paste it here, or run <code>hf auth login</code>.'
)
NOT_SIGNED_IN_ON_A_SPACE = "Not signed in. Sign in to publish under your own name."
NO_SIGN_IN = "Nobody can sign in on this server. Download the zip, and publish it yourself."
SIGN_IN_FIRST = (
    "You are not signed in, or your sign-in has ended. Sign in, then press Publish again."
)
WHOSE_IS_UNKNOWN = "Signed in on this machine; the Hub does not answer now, so as whom is unknown."
TOKEN_IS_UNKNOWN = (
    "Signed in on this machine with a token that the Hub does not know any more; paste another."
)


def refusal(sentence: str) -> str:
    return f'<p class="warning">{escape(as_on_page(sentence))}</p>'


def as_on_page(sentence: str) -> str:
    """A sentence with the command line's advice, as it is for somebody who sees a page."""
    sentence = re.sub(r"(?:sign in|publish as) with `hf auth login`", "sign in again", sentence)
    sentence = sentence.replace("run `hf auth login`", "sign in again")
    sentence = sentence.replace(" with `hf auth login`", "")
    sentence = re.sub(r" with --what head", "; choose only what changed", sentence)
    return re.sub(r" with --what full", ": choose it above", sentence)


def of_a_sign_in(sentence: str) -> str:
    """A sentence about a token, as it is for who signed in on a Space; what that may write to is
    what scope `contribute-repos` says."""
    sentence = re.sub(
        r"create one that may write\b.*`hf auth login`",
        "it may write only to repositories that were made with it; publish under another name",
        sentence,
    )
    return sentence.replace("this token", "your sign-in")


def status(parcel: PublishTask | None) -> str:
    """Headline, a line of detail and the way done; what changes all the time is not read out."""
    if parcel is None:
        return _box("", f"<b>{IDLE}</b><p>{STAYS}</p>")
    if parcel.error:
        return _box("failed", _ended_badly(parcel))
    event = parcel.event
    if isinstance(event, Published):
        return _box("", _published(event))
    headline, detail, share = _progress(parcel)
    bar = '<div class="progress waiting"><i></i></div>'
    if share is not None:
        bar = f'<div class="progress"><i style="width:{100 * share:.1f}%"></i></div>'
    seen = f"<p>{escape(detail)}</p>{bar}<p>{STAYS}</p>"
    return _box("", f"<b>{escape(headline)}</b>", seen)


def _box(kind: str, told: str, seen: str = "") -> str:
    """A live region with what is `told` to everybody, before what is only `seen`."""
    region = f'<div role="status" aria-live="polite">{told}</div>'
    return f'<div class="status sent {kind}">{region}{seen}</div>'


def _progress(parcel: PublishTask) -> tuple[str, str, float | None]:
    """(headline, detail, share of the bytes that are on their way, None where nobody knows)."""
    if parcel.stopping:
        return "Cancelling", "It ends before its next step, and leaves nothing behind.", None
    place = _place(parcel.checked)
    match parcel.event:
        case None if parcel.in_line:
            return "Waiting in line", "Others are publishing; yours begins after them.", None
        case Waiting(seconds=seconds, why=why):
            return f"Waiting: {why}", f"Trying again in {seconds:.0f} s. {place}", None
        case Checked():
            return "All is ready", place, None
        case Sending(total_bytes=total):
            return f"Sending {size_of(total)}", place, None
        case Verifying():
            return "Published; reading it back", place, 1.0
    return "Making the files and asking the Hub", "This takes some seconds.", None


def _place(checked: Checked | None) -> str:
    if checked is None:
        return ""
    made = "the" if checked.exists else "a new"
    return (
        f"{len(checked.files)} files, {size_of(checked.bytes)}, into {made} "
        f"{_seen(checked.private)} repository {checked.repository}."
    )


def _seen(private: bool) -> str:
    return "private" if private else "public"


def _published(event: Published) -> str:
    link = (
        f'<a href="{escape(event.url)}" target="_blank" rel="noopener noreferrer">'
        f"{escape(event.repository)}</a>"
    )
    how = "Published" if event.changed else "It stood there already, just so"
    told = (
        f"{_seen(event.private).capitalize()}, {len(event.files)} files, {size_of(event.bytes)}, "
        f"commit {escape(event.commit[:12])}, read back and found whole."
    )
    return f"<b>{how}: {link}</b><p>{told}</p><p>{_use(event)}</p>"


def _use(event: Published) -> str:
    if event.what == "head":
        use = f'transfer.load("{event.repository}")'
    else:
        use = f'timm.create_model("hf-hub:{event.repository}", pretrained=True)'
    return f"Use it: <code>{escape(use)}</code>"


def _ended_badly(parcel: PublishTask) -> str:
    if parcel.error == STOPPED:
        return "<b>Cancelled</b><p>Nothing was published, and nothing is left behind.</p>"
    sentence = as_on_page(parcel.error)
    headline = "Sent, but not read back" if _is_sent(parcel) else "Not published"
    told = f"<p>{escape(sentence[0].upper() + sentence[1:])}.</p>"
    if parcel.event is not None:
        told += "<p>Your run is as it was; Publish again sends only what is not there yet.</p>"
    return f"<b>{headline}</b>{told}"


def _is_sent(parcel: PublishTask) -> bool:
    return isinstance(parcel.event, Verifying)
