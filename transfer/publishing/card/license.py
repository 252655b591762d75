"""What others may do with a published model, from the terms of its body and of its images."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer import hub
from transfer.data.presets import PRESETS
from transfer.errors import SettingsError
from transfer.publishing.card.escape import as_line, as_text
from transfer.publishing.redact import bare
from transfer.runs.run import Run

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo

BODIES = {  # where the body comes from → (its license, what to say about it)
    "hub": (
        "bsd-3-clause",
        "torchvision's VGG as published by timm, BSD-3-Clause. It was trained on ImageNet, whose "
        "images are provided for research.",
    ),
    "bundled": (
        "cc-by-4.0",
        "VGG16 by Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford "
        "([paper](https://arxiv.org/abs/1409.1556)), licensed under "
        "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). It was trained on ImageNet, "
        "whose images are provided for research. Changes: only the convolutions are used, for "
        "normalised RGB and with rescaled activations, under a new head; fine-tuning may have "
        "changed them further.",
    ),
    "random": ("apache-2.0", "random weights, without any terms."),
}
OWN_FILE = (None, "a file of the publisher's own, whose terms are not recorded.")
DIGITS = (
    "*Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (UCI Machine "
    "Learning Repository, 1998, https://doi.org/10.24432/C50P49), as included in scikit-learn"
)
UNKNOWN = (
    "**No license is stated**, because the terms of what this model was made from are not all "
    "known. Ask the publisher before you use it for more than a trial."
)
HUB_SOURCE = re.compile(r"hub:([\w.-]+/[\w.-]+)(?: \(.*\))?", re.ASCII | re.DOTALL)
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class License:
    """`metadata` is for the head of the card, `text` for its section about the license."""

    metadata: dict[str, str]
    text: str


def is_digits(run: Run) -> bool:
    """scikit-learn's digits, not a folder with that name."""
    known = str(run.record.get("revision", "")).startswith("scikit-learn")
    return run.record.get("source") == "digits" and known


def hub_dataset(run: Run) -> str | None:
    """The Hub id of the dataset that the run was trained on, if it is one."""
    found = HUB_SOURCE.fullmatch(str(run.record.get("source", "")))
    return found[1] if found else None


def own_name(run: Run) -> str:
    """The bare name of a folder or zip, whatever path it was opened by."""
    return as_line(bare(str(run.record.get("source") or "own images")))


def source_link(run: Run) -> str:
    """Where the images come from, as Markdown."""
    if is_digits(run):
        return "scikit-learn's handwritten digits"
    if name := hub_dataset(run):
        return f"[{as_text(name)}](https://huggingface.co/datasets/{name})"
    return f"the publisher's own images (“{as_text(own_name(run))}”)"


def is_public(run: Run) -> bool:
    """Whether anyone may see the images: digits, or a dataset that the Hub shows to strangers.

    Asks the Hub within seconds; no answer means no.
    """
    if is_digits(run):
        return True
    name = hub_dataset(run)
    info = _ask(name, token=False) if name else None
    return info is not None and not (info.private or info.gated)


def licenses(run: Run) -> tuple[str | None, str | None]:
    """(the body's license, the dataset's) as the Hub spells them; None if unknown.

    Asks the Hub within seconds for datasets that are not among the presets.
    """
    body, _ = BODIES.get(run.record["body"]["weights"], OWN_FILE)
    name = "digits" if is_digits(run) else hub_dataset(run)
    if name is None:
        return body, None
    for preset in PRESETS:
        if preset.source.lower() == name.lower():
            return body, identifier(preset.licence)
    info = _ask(name)
    stated = info and info.card_data and info.card_data.get("license")
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    return body, identifier(stated) if stated else None


def _ask(name: str, token: bool | None = None) -> "DatasetInfo | None":
    from huggingface_hub import HfApi

    try:
        return hub.with_deadline(
            lambda: HfApi(token=token).dataset_info(name, timeout=hub.ANSWER_SECONDS)
        )
    except Exception:  # no answer, no such dataset, or not for us
        return None


def identifier(license: object) -> str | None:
    """`CC BY 4.0` → `cc-by-4.0`, as the Hub spells it; None if it names no license."""
    name = str(license).strip().lower().replace(" ", "-")
    return name if IDENTIFIER.fullmatch(name) and "unknown" not in name else None


def checked_license(license: str) -> str:
    """As the Hub spells it. Raises SettingsError."""
    name = identifier(license)
    if name is None:
        raise SettingsError(
            "license must be one that the Hub knows, such as mit, apache-2.0 or cc-by-4.0, found "
            f"{license[:60]!r}"
        )
    return name


def choose_license(run: Run | None, chosen: str | None) -> License:
    """`chosen` is the license that a person named; it wins over what follows from the parts."""
    body, images = licenses(run) if run else (None, None)
    parts = _parts(run, images) if run else ""
    if chosen is not None:
        metadata, text = {"license": chosen}, f"Published under **{as_text(chosen)}**."
    elif body is None or images is None:
        metadata, text = {}, UNKNOWN
    elif images == "other":
        link = f"https://huggingface.co/datasets/{hub_dataset(run)}"
        name = "terms-of-the-training-images"
        metadata = {"license": "other", "license_name": name, "license_link": link}
        text = f"The training images' own [terms]({link})."
    else:
        metadata = {"license": images}
        text = f"**{images}**, the license of the training images; the body's license allows it"
        text += ", with the attribution below." if body == "cc-by-4.0" else "."
    return License(metadata=metadata, text=text + parts)


def _parts(run: Run, images: str | None) -> str:
    _, body = BODIES.get(str(run.record["body"]["weights"]), OWN_FILE)
    source = DIGITS if is_digits(run) else source_link(run)
    terms = f"license {images or 'unknown'}"
    return f"\n\n- Body: {body}\n- Training images: {source}, {terms}."
