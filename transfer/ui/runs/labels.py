"""Labels that the other photos contradict, as cards with three choices each."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from transfer.events import BodyProgress, CacheFilled, CacheProgress, Event
from transfer.formatting import counted, isolated
from transfer.ui.shared.components import live_region, progress
from transfer.ui.shared.images import THUMBNAIL, data_url, thumbnails

if TYPE_CHECKING:
    from transfer.training.review import Review

CARDS_SHOWN = 60
TEST_PHOTOS_SHOWN = 12
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


def review_progress(event: Event | None) -> str:
    """While a review or a learning curve is computed."""
    match event:
        case BodyProgress():
            what, share = "Downloading the body", event.share
        case CacheProgress():
            what, share = "Computing the photos' features", event.share
        case CacheFilled():
            what, share = "Fitting on parts of the photos", None
        case _:
            what, share = "Opening the photos", None
    return progress(what, share)


def review_summary(name: str, found: "Review") -> str:
    """How many labels of the run `name` are estimated to be wrong, in a sentence or two."""
    number = len(found.suspects)
    others, how = "No photo is predicted as another class.", ""
    if number:
        first = f"; the first {CARDS_SHOWN} are shown" if number > CARDS_SHOWN else ""
        others = (
            f"{counted(number, 'photo')} {'is' if number == 1 else 'are'} predicted as another "
            f"class than the label, most suspicious first{first}."
        )
        how = f'<p class="about">{HELP}</p>'
    wrong = f"About {found.estimated_wrong:,} of {found.images:,} labels are estimated to be wrong."
    said = live_region(f"<p>{wrong} {others}</p>")
    return f'<div class="report"><h3>Labels of {escape(isolated(name))}</h3>{said}{how}</div>'


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
