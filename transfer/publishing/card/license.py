"""What others may do with a published model, from the terms of its body and of its images."""

import re
from dataclasses import dataclass

from transfer import hub
from transfer.data.presets import PRESETS
from transfer.errors import SettingsError
from transfer.publishing.card.escape import as_text
from transfer.runs.run import Run

BASES = {  # where the body comes from → (its licence, what is to be said of it)
    "hub": (
        "bsd-3-clause",
        "the VGG of torchvision, as timm publishes it, under BSD-3-Clause. It was trained on "
        "ImageNet, whose pictures are offered for research.",
    ),
    "bundled": (
        "other",
        "a small VGG16 body that comes with the project. It was trained on Tiny-ImageNet, a "
        "subset of ImageNet, whose [terms](https://image-net.org/download.php) allow "
        "non-commercial research.",
    ),
    "random": ("apache-2.0", "random numbers, on which there are no terms."),
}
IMAGENET = {
    "license": "other",
    "license_name": "imagenet-terms",
    "license_link": "https://image-net.org/download.php",
}
DIGITS = (
    "*Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (UCI Machine "
    "Learning Repository, 1998, https://doi.org/10.24432/C50P49), as scikit-learn ships it"
)
HUB_SET = re.compile(r"hub:([\w.-]+/[\w.-]+)(?: \(.*\))?", re.ASCII | re.DOTALL)
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class License:
    """`metadata` is what the card's head says of the licence, `text` the section about it."""

    metadata: dict[str, str]
    text: str


def is_digits(run: Run) -> bool:
    """scikit-learn's, not a folder of that name."""
    known = str(run.record.get("revision", "")).startswith("scikit-learn")
    return run.record.get("source") == "digits" and known


def hub_set(run: Run) -> str | None:
    """The Hub's id of the data set that the run learned from, if it is one."""
    found = HUB_SET.fullmatch(str(run.record.get("source", "")))
    return found[1] if found else None


def is_public(run: Run) -> bool:
    """Whether anyone may see the images: digits, or a Hub data set that is open to strangers.

    Asks the Hub within seconds; no answer means no.
    """
    if is_digits(run):
        return True
    name = hub_set(run)
    if name is None:
        return False
    from huggingface_hub import HfApi

    def look():
        return HfApi(token=False).dataset_info(name, timeout=hub.ANSWER_SECONDS)

    try:
        info = hub.with_deadline(look)
    except Exception:  # whatever it says, it is not an open door
        return False
    return not (info.private or info.gated)


def licenses(run: Run) -> tuple[str | None, str | None]:
    """(the body's licence, the data set's) as the Hub spells them; None where it is not known.

    Asks the Hub within seconds for data sets that the project does not know.
    """
    body, _ = BASES.get(run.record["body"]["weights"], (None, ""))
    if is_digits(run):
        return body, _licence_of_preset("digits")
    name = hub_set(run)
    return body, name and (_licence_of_preset(name) or _ask_licence(name))


def identifier(licence: object) -> str | None:
    """`CC BY 4.0` → `cc-by-4.0`, as the Hub spells it; None for what names no licence."""
    name = str(licence).strip().lower().replace(" ", "-")
    return name if IDENTIFIER.fullmatch(name) and "unknown" not in name else None


def choose_license(run: Run | None, chosen: str | None) -> License:
    """`chosen` is the licence that a person named, which wins over what is known of the parts."""
    body, images = licenses(run) if run else (None, None)
    parts = _parts(run, images) if run else ""
    if chosen is not None:
        told = f"Published under **{as_text(chosen)}**."
        return License(metadata={"license": chosen}, text=told + parts)
    if body == "other":
        return License(metadata=IMAGENET, text=_BUNDLED + parts)
    if body is None or images is None:
        return License(metadata={}, text=_UNKNOWN + parts)
    if images == "other":
        link = f"https://huggingface.co/datasets/{hub_set(run)}"
        name = "terms-of-the-training-images"
        metadata = {"license": "other", "license_name": name, "license_link": link}
        return License(metadata=metadata, text=f"The training images' own [terms]({link}).{parts}")
    text = f"**{images}**, the training images' licence; the body's allows it.{parts}"
    return License(metadata={"license": images}, text=text)


_BUNDLED = (
    "**Research only**: the body has learned from ImageNet's pictures, so their terms hold for "
    "this model too, besides those of the training images."
)
_UNKNOWN = (
    "**No licence is stated.** The terms of what this model was made from are not all known, so "
    "none is claimed here; ask the publisher before you use it for more than a look."
)


def checked_licence(licence: str) -> str:
    """As the Hub spells it. Raises SettingsError where it is none."""
    name = identifier(licence)
    if name is None:
        raise SettingsError(
            "license must be one that the Hub knows, such as mit, apache-2.0 or cc-by-4.0, found "
            f"{licence[:60]!r}"
        )
    return name


def _parts(run: Run, images: str | None) -> str:
    weights = str(run.record["body"]["weights"])
    _, told = BASES.get(weights, ("", "a file of the publisher's, whose terms are not recorded."))
    return f"\n\n- Body: {told}\n- Training images: {_images(run)}, {_licence_told(images)}."


def _images(run: Run) -> str:
    if is_digits(run):
        return DIGITS
    if name := hub_set(run):
        return f"[{as_text(name)}](https://huggingface.co/datasets/{name}) on the Hub"
    return "the publisher's own"


def _licence_told(licence: str | None) -> str:
    return f"licence {licence}" if licence else "licence not known"


def _licence_of_preset(source: str) -> str | None:
    found = [preset.licence for preset in PRESETS if preset.source.lower() == source.lower()]
    return identifier(found[0]) if found else None


def _ask_licence(name: str) -> str | None:
    from huggingface_hub import HfApi

    try:
        info = hub.with_deadline(lambda: HfApi().dataset_info(name, timeout=hub.ANSWER_SECONDS))
    except Exception:  # not answered, gone or closed: not known
        return None
    licence = info.card_data and info.card_data.get("license")
    if isinstance(licence, list):
        licence = licence[0] if len(licence) == 1 else None
    return identifier(licence) if licence else None
