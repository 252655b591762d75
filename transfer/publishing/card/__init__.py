"""The card of a published run or of photos: README.md and its pictures."""

from transfer.publishing.card.dataset_card import write_dataset_card
from transfer.publishing.card.license import choose_license, is_public, licenses
from transfer.publishing.card.model_card import is_generated, run_readme, write_card

__all__ = [
    "choose_license",
    "is_generated",
    "is_public",
    "licenses",
    "run_readme",
    "write_card",
    "write_dataset_card",
]
