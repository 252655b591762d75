"""What a classifier says about pictures, as HTML: predictions, heat maps, phases side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from transfer.data.image import load_image
from transfer.formatting import score_text
from transfer.inference.verdict import Verdict, verdict
from transfer.ui.predict.pictures import Asked
from transfer.ui.shared.components import PHASE_TITLES, advice_first, progress, warning
from transfer.ui.shared.images import THUMBNAIL, data_url, fitted, thumbnails
from transfer.ui.shared.tables import bar, scrolling, table

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer, Prediction
    from transfer.inference.grad_cam import HeatMap
    from transfer.jobs.run_photos import Example

TINY, SMALL, LARGE = 48, 160, 320  # pixels
COLUMNS = ("Picture", "Answer", "Score", "Second best")
LEGEND_STEPS = 9
LONGEST_LABEL = 80
EMPTY = (
    '<div class="answers empty"><p>Click, draw or add a picture; the answer appears here.</p></div>'
)
NINE_OF_TEN = "In nine of ten pictures the true class is in this set"
LABELS_IN_A_SET = 5
LEARNED = {
    "features": "linear classifier on the frozen body",
    "warm-up": "new head on the frozen body",
    "fine-tune": "upper blocks trained too",
}


def examples(found: "list[Example]") -> str:
    """Buttons with pictures to try; `predict.step` passes on which one is clicked."""
    pictures = [(name, load_image(picture, SMALL)) for name, picture in found]
    buttons = "".join(
        f'<button type="button" data-place="{place}" title="{escape(name)}">'
        f'<img src="{data_url(picture, THUMBNAIL)}" alt="{escape(name)}"></button>'
        for place, (name, picture) in enumerate(pictures)
    )
    return (
        buttons and f'<p>Click a picture, or add your own:</p><div class="examples">{buttons}</div>'
    )


@dataclass
class Sheet:
    """The answers so far about pictures with these names: a table, if it is wanted, with a line for
    each from the start, so that nothing moves while it fills; below it the cards."""

    names: list[str]
    legend: str = ""
    note: str = ""
    tabular: bool = False
    cards: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    said: str = ""  # what a screen reader says

    def add(self, asked: Asked, card: str, row: list[str]) -> None:
        self.cards.append(card)
        self.rows.append(row)
        if not asked.error:
            self.said = str(_verdict(asked.answer))
        if len(self.names) > 1:
            self.said = f"{len(self.rows)} of {len(self.names)} pictures"

    def html(self) -> str:
        """With a note about how many pictures are answered, or about those that are missing."""
        whole = len(self.rows) == len(self.names)
        note = self.note if whole else f"{self.said} are answered."
        note = f'<p class="note">{escape(note)}</p>' if note or self.tabular else ""
        waiting = [[_first(name), "…", "", ""] for name in self.names[len(self.rows) :]]
        rows = table(COLUMNS, self.rows + waiting) if self.tabular else ""
        rows = rows and scrolling(rows, "All answers")
        return (
            f'<div class="answers" data-said="{escape(self.said)}">{note}{rows}{self.legend}'
            f"{''.join(self.cards)}</div>"
        )


def _first(name: str, image: Image.Image | None = None) -> str:
    thumb = _picture(image, "", TINY) if image else '<span class="thumb"></span>'
    return f'{thumb}<span title="{escape(name)}">{escape(name)}</span>'


def row(asked: Asked, image: Image.Image | None = None) -> list[str]:
    """A picture in the table: itself and its name, the verdict, the best score, the second best."""
    first = _first(asked.name, image)
    if asked.answer is None:
        return [first, escape(advice_first(asked.error)), "", ""]
    best, *others = asked.answer.predictions
    second = [f"{_short(other.label)}, {score_text(other.score)}" for other in others[:1]]
    cells = str(_verdict(asked.answer)), score_text(best.score), *(second or [""])
    return [first, *map(escape, cells)]


def about(text: str, kind: str = "") -> str:
    """A line about the selected run; `kind` is "warning" if it cannot be used."""
    return f'<p class="about {kind}">{escape(text)}</p>'


def error(text: str) -> str:
    """An error in the place of the predictions."""
    return f'<div class="answers" role="alert">{warning(text)}</div>'


def preparing(done: int, total: int) -> str:
    """In the place of the predictions, before the first one."""
    shown = progress("Preparing photos", done / total, f"{done:,} of {total:,}")
    return f'<div class="answers">{shown}</div>'


def prediction_card(name: str, image: Image.Image, answer: "Answer") -> str:
    """A picture beside the verdict and the best classes; what they do not say unfolds."""
    notes = "".join(_notes(answer))
    fold = notes and f"<details><summary>More</summary>{notes}</details>"
    return _card(name, _picture(image, name, SMALL), _line(answer) + _best(answer) + fold)


def _verdict(answer: "Answer") -> Verdict:
    found = verdict(answer)
    return found._replace(labels=tuple(map(_short, found.labels)))


def _line(answer: "Answer") -> str:
    found = _verdict(answer)
    said, _, closest = str(found).partition("; ") if found.kind == "unknown" else (found, "", "")
    small = closest and f"<small>{escape(closest)}</small>"
    return f'<p class="verdict {found.kind}">{escape(str(said))}{small}</p>'


def _best(answer: "Answer", most: int | None = None) -> str:
    """The best classes; none of them stands out for a picture of something else."""
    return _scores(answer.predictions[:most], best=answer.known is not False)


def _notes(answer: "Answer") -> Iterator[str]:
    """What the scores alone do not say."""
    if answer.set:
        names = " or ".join(escape(_short(label)) for label in answer.set[:LABELS_IN_A_SET])
        left = len(answer.set) - LABELS_IN_A_SET
        more = f" or {left:,} others" if left > 0 else ""
        yield f'<p class="note">{NINE_OF_TEN}: {names}{more}.</p>'
    elif answer.set is not None:
        yield '<p class="note">No class scores as high as the right one usually does.</p>'
    if answer.familiarity is not None:
        share = f"{answer.familiarity:.0%}"
        yield f'<p class="note">{share} of the photos held out of training were less familiar.</p>'


def similar_card(
    name: str, image: Image.Image, answer: "Answer", photos: list[tuple[Image.Image, str]]
) -> str:
    """The picture and the verdict above the training photos that are most like it."""
    if photos:
        below = f"<p>The training photos most like it:</p>{thumbnails(photos)}"
    else:
        below = warning("The photos that this run was trained on are not here.")
    return (
        f'<article class="answer broad"><div class="head">{_picture(image, name, SMALL)}<div>'
        f"<h4>{escape(name)}</h4>{_line(answer)}{_best(answer, 1)}</div></div>{below}</article>"
    )


def unreadable_card(name: str, why: str) -> str:
    """A file that is not a picture, beside the others."""
    return _card(name, '<span class="thumb none" aria-hidden="true">?</span>', warning(why))


def heat_card(name: str, image: Image.Image, answer: "Answer", heat: "HeatMap") -> str:
    """The verdict, the picture, the same one under its heat map, and the best classes."""
    from transfer.inference.grad_cam import overlay

    label = _short(heat.label)
    if heat.empty:
        right = warning(f"There is no evidence for {label} in this picture.")
    else:
        under_heat = _picture(overlay(fitted(image, LARGE), heat.heat), f"heat map: {label}", LARGE)
        right = _figure(under_heat, f"evidence for {label}, {score_text(heat.score)}")
    left = _figure(_picture(image, name, LARGE), "picture")
    return (
        f'<article class="answer broad"><div><h4>{escape(name)}</h4>{_line(answer)}</div>'
        f'<div class="pair">{left}{right}</div>{_best(answer)}</article>'
    )


def legend() -> str:
    """What the colours of a heat map mean, and what they do not."""
    from transfer.inference.grad_cam import scale

    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in scale(LEGEND_STEPS))
    return (
        '<div class="legend"><span>no evidence</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i><span>most evidence</span>'
        "<p>Where the last convolution found evidence for the class (Grad-CAM). The map is coarse "
        "and shows where, not why. Each map has its own scale.</p></div>"
    )


def phases_card(
    name: str, image: Image.Image, answer: "Answer", found: "dict[str, list[Prediction]]"
) -> str:
    """The picture and the verdict above the predictions after each phase of the training."""
    columns = "".join(
        f'<section class="stage"><h5>{escape(PHASE_TITLES.get(phase, phase))}</h5>'
        f"<p>{LEARNED.get(phase, '')}</p>{_scores(best)}</section>"
        for phase, best in found.items()
    )
    return (
        f'<article class="answer broad"><div class="head">{_picture(image, name, SMALL)}'
        f"<div><h4>{escape(name)}</h4>{_line(answer)}</div></div>"
        f'<div class="stages">{columns}</div></article>'
    )


def _card(name: str, picture: str, body: str) -> str:
    return f'<article class="answer">{picture}<div><h4>{escape(name)}</h4>{body}</div></article>'


def _scores(found: "list[Prediction]", *, best: bool = True) -> str:
    """A bar for each class, the first one in bold if it is the `best`."""
    rows = (
        bar(
            _short(prediction.label),
            prediction.score,
            escape(score_text(prediction.score)),
            best=best and not i,
        )
        for i, prediction in enumerate(found)
    )
    return f'<ol class="scores">{"".join(rows)}</ol>'


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _picture(image: Image.Image, name: str, side: int) -> str:
    return f'<img class="thumb" src="{data_url(image, side)}" alt="{escape(name)}">'
