"""The model card of a published run: README.md and its pictures."""

from transfer.publishing.card.license import choose_license, is_public, licenses
from transfer.publishing.card.model_card import write_card

__all__ = ["choose_license", "is_public", "licenses", "write_card"]
