"""The model card: README.md and its pictures, worth reading, and a person's own words kept."""

from typing import TYPE_CHECKING

from transfer.errors import RunError
from transfer.publishing.card.escape import as_line
from transfer.publishing.card.license import checked_licence, choose_license, is_public, licenses
from transfer.publishing.card.merge import (
    LICENSE_KEYS,
    merge_metadata,
    merge_text,
    split_card,
    theirs,
    wrote_before,
    wrote_mark,
)
from transfer.publishing.card.metadata import card_metadata
from transfer.publishing.card.mistakes import mistakes_again
from transfer.publishing.card.plots import draw_confusion, draw_curves, draw_mistakes
from transfer.publishing.card.text import card_sections

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

__all__ = ["choose_license", "is_public", "licenses", "write_card"]

CARD = "README.md"
CURVES, CONFUSION, MISTAKES = "curves.png", "confusion.png", "mistakes.png"


def write_card(
    bundle: "Bundle",
    repository: str,
    *,
    license: str | None = None,
    private: bool = True,
    source_is_public: bool,
    previous: str | None = None,
) -> list[str]:
    """Write README.md and its pictures into the bundle's folder and return their names.

    `previous` is the card that the repository has, decoded with `surrogateescape`: what a person
    wrote into it stays, and so does a licence that a person chose, unless `license` names one.
    Pictures of training images are shown only where `source_is_public`. Raises SettingsError for a
    licence that is none, RunError where the run does not tell what a card must say.
    """
    try:
        files = _files(bundle, repository, license, private, source_is_public, previous or "")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            "expected a whole record and report of the run to write its card from, found them "
            f"damaged ({type(error).__name__}: {as_line(error)}); train again"
        ) from None
    for name, content in files.items():
        (bundle.folder / name).write_bytes(content)
    return list(files)


def _files(
    bundle: "Bundle",
    repository: str,
    license: str | None,
    private: bool,
    source_is_public: bool,
    previous: str,
) -> dict[str, bytes]:
    old, text = split_card(previous)
    wrote = wrote_before(text)
    chosen = checked_licence(license) if license else _chosen_before(old or {}, wrote)
    terms, pictures = choose_license(bundle.run, chosen), _draw(bundle, source_is_public)
    data = card_metadata(bundle, repository, terms)
    sections = card_sections(bundle, repository, terms, frozenset(pictures), private=private)
    ours = _without_licence(data) if chosen else data  # a person chose, and it stays theirs
    sections["summary"] += f"\n\n{wrote_mark(ours, theirs(old or {}, wrote))}"
    if old:
        data = merge_metadata(_without_licence(old) if license else old, data, wrote)
    text = text if text.strip() else f"# {repository.rpartition('/')[2]}\n\n"
    card = _with_head(data, merge_text(text, sections))
    return {CARD: card.encode("utf-8", "surrogateescape")} | pictures


def _chosen_before(old: dict, wrote: set[str]) -> str | None:
    """The licence that a person, not this card, wrote into the old metadata."""
    if "license" not in old or not theirs({"license": old["license"]}, wrote):
        return None
    return str(old.get("license_name") or old["license"] or "") or None


def _without_licence(data: dict) -> dict:
    return {key: value for key, value in data.items() if key not in LICENSE_KEYS}


def _draw(bundle: "Bundle", source_is_public: bool) -> dict[str, bytes]:
    """File name → PNG of all that there is to see."""
    if bundle.run is None:
        return {}
    report = bundle.run.report
    drawn = {
        CURVES: draw_curves(report),
        CONFUSION: draw_confusion(bundle.classes, report["confusion"]),
        MISTAKES: draw_mistakes(mistakes_again(bundle.run)) if source_is_public else None,
    }
    return {name: picture for name, picture in drawn.items() if picture}


def _with_head(data: dict, text: str) -> str:
    from huggingface_hub.utils import yaml_dump

    return f"---\n{yaml_dump(data, sort_keys=False)}---\n{text}"
