"""Labels that the other photos contradict, as cards with three choices each."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from transfer.events import BodyProgress, CacheFilled, CacheProgress, Event
from transfer.formatting import isolated
from transfer.ui.shared.components import live_region, progress_bar
from transfer.ui.shared.images import THUMBNAIL, data_url, thumbnails

if TYPE_CHECKING:
    from transfer.training.review import Review

CARDS_SHOWN = 60
TEST_PHOTOS_SHOWN = 12
COMPARING, FITTING = "Comparing each label with the other photos", "Fitting on parts of the photos"
HELP = (
    "The number on a card, 0 to 1, says how much more likely the other class is. Keys: Tab or ↑ ↓ "
    "to move, K keeps, R relabels, X leaves out."
)
TEST_TITLE = "Test photos with suspicious labels"
TEST_NOTE = (
    "These are never changed here: every training is judged by them. Correct them in the dataset "
    "itself if they are wrong."
)

Suspects = list[tuple[dict, Image.Image | None]]  # a row of Review with its picture


def review_progress(event: Event | None, fitting: str = COMPARING) -> str:
    """While a review computes."""
    match event:
        case BodyProgress():
            what, share = "Downloading the body", event.done_bytes / max(event.total_bytes, 1)
        case CacheProgress():
            what, share = "Computing the photos' features", event.done / max(event.total, 1)
        case CacheFilled():
            what, share = fitting, None
        case _:
            what, share = "Opening the photos", None
    return f"{live_region(f'<p>{what}</p>')}{progress_bar(share)}"


def estimate(found: "Review") -> str:
    """How many labels are estimated to be wrong, in a sentence or two."""
    wrong = f"About {found.estimated_wrong:,} of {found.images:,} labels"
    if not found.suspects:
        return f"{wrong} are estimated to be wrong. No photo is predicted as another class."
    listed = len(found.suspects)
    others = "1 photo is" if listed == 1 else f"{listed:,} photos are"
    first = f"; the first {CARDS_SHOWN} are shown" if listed > CARDS_SHOWN else ""
    return (
        f"{wrong} are estimated to be wrong. {others} predicted as another class than the label, "
        f"most suspicious first{first}."
    )


def review_summary(name: str, found: "Review") -> str:
    """About the labels of the run `name`."""
    title = f"<h3>Labels of {escape(isolated(name))}</h3>"
    how = f'<p class="about">{HELP}</p>' if found.suspects else ""
    return f'<div class="report">{title}{live_region(f"<p>{estimate(found)}</p>")}{how}</div>'


def label_cards(shown: Suspects, first: int, classes: Sequence[str]) -> str:
    """One card for each suspect, `first` of which are relabelled at once.

    A choice is found by the row of its card, a class by its index, so that the page returns no
    names.
    """
    cards = "".join(_card(row, *suspect, classes) for row, suspect in enumerate(shown))
    options = "".join(f'<option value="{i}">{escape(n)}</option>' for i, n in enumerate(classes))
    return (
        f'<select class="every" hidden aria-hidden="true">{options}</select>'
        f'<ol class="suspects" data-first="{first}">{cards}</ol>'
        f'<p class="decided" role="status" aria-live="polite">No label is changed so far.</p>'
    )


def _card(row: int, suspect: dict, picture: Image.Image | None, classes: Sequence[str]) -> str:
    label, likely, where = (
        escape(isolated(suspect[name])) for name in ("label", "likely", "where")
    )
    image = f'<img src="{data_url(picture, THUMBNAIL)}" alt="{where}">' if picture else "<i></i>"
    option = f'<option value="{classes.index(suspect["likely"])}">{likely}</option>'
    new_label = f'<select aria-label="New label of {where}">{option}</select>'
    return (
        f"<li>{image}<fieldset><legend>Labelled <b>{label}</b>, more likely <b>{likely}</b> "
        f"<span>{suspect['score']:.2f}</span></legend>{_choice(row, 'keep', 'Keep', ' checked')}"
        f"<div>{_choice(row, 'relabel', 'Relabel as')}{new_label}</div>"
        f'{_choice(row, "leave_out", "Leave out")}<small title="{where}">{where}</small>'
        "</fieldset></li>"
    )


def _choice(row: int, value: str, text: str, checked: str = "") -> str:
    field = f'<input type="radio" name="suspect-{row}" value="{value}"{checked}>'
    return f"<label>{field} {text}</label>"


def list_test_photos(tested: Suspects) -> str:
    """The test photos, which nothing can be decided about; empty without any."""
    pictures = [
        (picture, f"Labelled {label}, more likely {likely} ({suspect['score']:.2f})")
        for suspect, picture in tested
        if picture
        for label, likely in [(isolated(suspect["label"]), isolated(suspect["likely"]))]
    ]
    if not pictures:
        return ""
    return (
        f'<div class="report"><h3>{TEST_TITLE}</h3><p>{TEST_NOTE}</p>{thumbnails(pictures)}</div>'
    )
