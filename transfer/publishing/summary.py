"""What can be published of a run: files with their sizes, the proposed name and the license."""

import re
from dataclasses import dataclass, replace

from transfer.cache.timed_cache import TimedCache
from transfer.data.local.custom import CustomImages
from transfer.errors import TransferError
from transfer.inference.onnx_format import FACTS, MODEL
from transfer.inference.timm_config import CONFIG
from transfer.publishing.bundle import WHATS, bundle_files
from transfer.publishing.card.license import choose_license, hub_dataset, is_public
from transfer.publishing.card.model_card import FILES
from transfer.publishing.hub_repository import CARD
from transfer.publishing.onnx.runtime import KNOWN, PAGE_FILES
from transfer.publishing.redact import bare
from transfer.runs.run import RECORD, TENSORS, Run

CARD_BYTES = 120_000  # with its pictures, roughly
LICENSES = TimedCache(64, 60.0)  # asking the Hub takes seconds
LONGEST_NAME = 60
MEANINGS = {  # what → file → what it is, where that differs from a run's folder
    "head": {
        TENSORS: "head and fine-tuned blocks; the smaller size if half precision changes no score",
        CONFIG: "its classes; the Hub counts downloads by this file",
    },
    "full": {
        TENSORS: "all weights",
        CONFIG: "how timm and transformers build the network",
    },
    "page": {
        MODEL: "the network in half precision",
        FACTS: "its classes, and what its scores mean",
        CARD: "what the page is, and how to use its model elsewhere",
        **dict.fromkeys(PAGE_FILES, "the page itself"),
        **dict.fromkeys(KNOWN, "ONNX Runtime; a browser loads only one of its two kinds"),
    },
}


@dataclass(frozen=True, kw_only=True)
class PublishSummary:
    """`files` are those of `head` and of `full`: name → (least, most) estimated bytes.

    `refused` says why one of the two is impossible. `source` is the name of the images that will be
    public, `dataset` their id on the Hub if they are from there. `license` is the one that follows
    from body and images, "" if none does.
    """

    run: Run
    name: str  # proposed for the repository
    files: dict[str, dict[str, tuple[int, int]]]
    refused: dict[str, str]
    source: str
    dataset: str | None
    public: bool | None = None  # whether everyone may see the images, None if not asked yet
    license: str = ""


def summarize(run: Run, name: str) -> PublishSummary:
    """Of a run that its owner calls `name`; nothing is asked of the Hub."""
    files, refused = {}, {}
    for what in WHATS:
        try:
            files[what] = _size_ranges(run, what)
        except TransferError as error:
            refused[what] = str(error)
    return PublishSummary(
        run=run,
        name=proposed_name(run.settings.architecture, name),
        files=files,
        refused=refused,
        source=bare(str(run.record.get("source", ""))),
        dataset=hub_dataset(run),
    )


def _size_ranges(run: Run, what: str) -> dict[str, tuple[int, int]]:
    """A head is stored in full precision if half precision would change a score."""
    sizes = {name: (size, size) for name, size in bundle_files(run, what).items()}
    if what == "head":
        least, _ = sizes[TENSORS]
        sizes[TENSORS] = least, 2 * least
    return sizes | {CARD: (CARD_BYTES, CARD_BYTES)}


def photo_bytes(images: CustomImages) -> int:
    """Of all photos that are still there."""
    return sum(photo.stat().st_size for _, photo in images.photos() if photo.is_file())


def with_license(found: PublishSummary) -> PublishSummary:
    """Asks the Hub if the images are from there."""
    run = found.run
    key = run.path, (run.path / RECORD).stat().st_mtime_ns
    if (known := LICENSES.get(key)) is None:
        terms = choose_license(run, None).metadata
        license = terms.get("license_name") or terms.get("license", "")
        known = LICENSES.put(key, {"public": is_public(run), "license": license})
    return replace(found, **known)


def meanings(found: PublishSummary, what: str) -> dict[str, str]:
    """What each file is."""
    photos = ", mistakes, three test images" if found.public else ""
    card = f"the model card, with pictures: curves, confusion matrix{photos}"
    return FILES | {CARD: card} | MEANINGS[what]


def proposed_name(architecture: str, name: str) -> str:
    """`your own photos` → `vgg16-your-own-photos`, a valid name on the Hub."""
    words = re.sub(r"[^a-z0-9._-]+", "-", name.rpartition("/")[2].lower())
    words = re.sub(r"([-.])[-.]+", r"\1", words).strip("-._")[:LONGEST_NAME].rstrip("-._")
    full = words if words.startswith("vgg") else f"{architecture}-{words or 'run'}"
    return full.removesuffix(".git")
