"""What there is to publish of a run: how large it is, whose images it shows, on which terms."""

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer.errors import TransferError
from transfer.publishing.bundle import WHATS, bundle_files
from transfer.publishing.card.license import choose_license, hub_dataset, is_public
from transfer.publishing.redact import bare
from transfer.runs.run import RECORD, TENSORS
from transfer.ui.shared.loaded_runs import cached_run

CARD_BYTES = 120_000  # README.md and its pictures, about
SECONDS_BETWEEN_LOOKS_AT_THE_HUB = 60
LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class PublishSummary:
    """`bytes` of each way to publish a run, about; `refused` says of the other ways why not.

    `most` is what a head takes where half precision would move a score, which is known once it is
    written. `source` is the name of the images that others are told, `hub_set` their id on the Hub.
    """

    name: str
    bytes: dict[str, int]
    most: dict[str, int]
    refused: dict[str, str]
    files: dict[str, dict[str, int]]
    source: str
    hub_set: str | None


@dataclass(frozen=True, kw_only=True)
class LicenseInfo:
    """Whether anybody may see the images, and the licence that follows from the parts, "" where
    none does."""

    public: bool
    licence: str


def offer(path: Path, name: str) -> PublishSummary:
    """Of the run in `path` that people call `name`. Raises TransferError."""
    run = cached_run(path)
    files, refused = {}, {}
    for what in WHATS:
        try:
            files[what] = bundle_files(run, what)
        except TransferError as error:
            refused[what] = str(error)
    sizes = {what: sum(found.values()) + CARD_BYTES for what, found in files.items()}
    more = {"head": files.get("head", {}).get(TENSORS, 0), "full": 0}
    return PublishSummary(
        name=proposed_name(run.settings.architecture, name),
        bytes=sizes,
        most={what: size + more[what] for what, size in sizes.items()},
        refused=refused,
        files=files,
        source=bare(str(run.record.get("source", ""))),
        hub_set=hub_dataset(run),
    )


def known_of(path: Path) -> LicenseInfo:
    """Asks the Hub within seconds where the images are from there; the answer is kept a while."""
    lately = int(time.monotonic() // SECONDS_BETWEEN_LOOKS_AT_THE_HUB)
    return _known(path, (path / RECORD).stat().st_mtime_ns, lately)


@lru_cache(maxsize=64)
def _known(path: Path, changed: int, lately: int) -> LicenseInfo:
    run = cached_run(path)
    terms = choose_license(run, None).metadata
    licence = terms.get("license_name") or terms.get("license", "")
    return LicenseInfo(public=is_public(run), licence=licence)


def proposed_name(architecture: str, name: str) -> str:
    """`your own photos` → `vgg16-your-own-photos`, a name that the Hub takes."""
    words = re.sub(r"[^a-z0-9._-]+", "-", name.rpartition("/")[2].lower())
    words = re.sub(r"([-.])[-.]+", r"\1", words).strip("-._")[:LONGEST_NAME].rstrip("-._")
    whole = words if words.startswith("vgg") else f"{architecture}-{words or 'run'}"
    return whole.removesuffix(".git")
