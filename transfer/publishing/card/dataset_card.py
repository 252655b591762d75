"""README.md of a dataset of one's own photos; what a person wrote into the previous card stays."""

from pathlib import Path
from typing import TYPE_CHECKING

from transfer.machine.environment import space_id
from transfer.publishing.card.facts import TASK
from transfer.publishing.card.license import checked_license
from transfer.publishing.card.model_card import CARD, replace_generated, split_card
from transfer.publishing.card.render import render
from transfer.publishing.photos import TRAIN

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

TEMPLATE = Path(__file__).with_name("dataset.md")
THOUSAND = 1_000  # photos; there are never ten thousand


def write_dataset_card(
    bundle: "Bundle",
    repository: str,
    *,
    license: str | None = None,
    private: bool = True,
    previous: str | None = None,
) -> None:
    """Write README.md into the bundle's folder. No license is stated that no person chose.

    `previous` is as in `write_card`. Raises SettingsError for an unknown license.
    """
    from huggingface_hub.utils import yaml_dump

    old, text = split_card(previous or "")
    folders = {name: bundle.folder / TRAIN / name for name in bundle.classes}
    counts = {name: len([*folder.iterdir()]) for name, folder in folders.items()}
    photos = sum(counts.values())
    metadata = old | {
        "task_categories": [TASK],
        "size_categories": ["n<1K" if photos < THOUSAND else "1K<n<10K"],
        # stated, for `datasets` would take a class called `test drive` for a split
        "configs": [
            {"config_name": "default", "data_files": [{"split": TRAIN, "path": f"{TRAIN}/**"}]}
        ],
    }
    if license:
        metadata["license"] = checked_license(license)
    facts = {"counts": counts, "photos": photos, "repository": repository, "private": private}
    facts |= {"license": metadata.get("license"), "space": space_id()}
    head = yaml_dump(metadata, sort_keys=False)
    text = text if text.strip() else f"# {repository.rpartition('/')[2]}\n\n"
    card = f"---\n{head}---\n{replace_generated(text, render(TEMPLATE, facts))}"
    (bundle.folder / CARD).write_bytes(card.encode("utf-8", "surrogateescape"))
