"""What a classifier says of pictures, as HTML: bars, heat maps, the stages side by side."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from transfer.inference.classifier import Prediction
    from transfer.inference.grad_cam import HeatMap

THUMBNAIL, LARGE = 160, 320
LEGEND_STEPS = 9
LABEL_AT_MOST = 80
EMPTY = (
    '<div class="answers empty" role="status" aria-live="polite"><p>The answer appears here: draw '
    "something, or add pictures.</p></div>"
)
STAGE_TITLES = {
    "features": ("Features only", "a linear classifier on the frozen body"),
    "warm-up": ("After warm-up", "a new head on the frozen body"),
    "fine-tune": ("After fine-tune", "upper blocks have learned too"),
}


def answers(cards: list[str], note: str = "", key: str = "") -> str:
    """All cards under each other, below the `key` to them; `note` tells of those not there."""
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    body = f"{key}{''.join(cards)}{told}"
    region = 'role="status" aria-live="polite" aria-atomic="false"'  # they come one by one
    return f'<div class="answers" {region}>{body}</div>'


def about(text: str, *, warning: bool = False) -> str:
    """A line about the run that is chosen."""
    return f'<p class="about{" warning" if warning else ""}">{escape(text)}</p>'


def sentence(text: str) -> str:
    """An error in the place of the answers."""
    return f'<div class="answers" role="alert"><p class="warning">{escape(text)}</p></div>'


def ranked_card(name: str, image: Image.Image, found: "list[Prediction]") -> str:
    """A picture beside its best classes."""
    return _card(name, _picture(image, name, THUMBNAIL), _scores(found))


def unreadable_card(name: str, why: str) -> str:
    """A file that is no picture, beside the others."""
    return _card(name, '<span class="thumb none" aria-hidden="true">?</span>', _warning(why))


def heat_card(name: str, image: Image.Image, found: "list[Prediction]", heat: "HeatMap") -> str:
    """The picture, the same one under its heat, and the best classes."""
    from transfer.inference.grad_cam import overlay

    label = _short(heat.label)
    if heat.empty:
        seen = _warning(f"Nothing in this picture speaks for {label}.")
    else:
        warm = overlay(_enlarged(image, LARGE), heat.heat)
        seen = _figure(_picture(warm, f"heat map for {label}", LARGE), f"for {label}", heat.score)
    shown = f'<div class="pair">{_figure(_picture(image, name, LARGE), "the picture")}{seen}</div>'
    return f'<article class="answer broad"><h4>{escape(name)}</h4>{shown}{_scores(found)}</article>'


def legend() -> str:
    """What the colours mean, and what they can and cannot tell."""
    from transfer.inference.grad_cam import scale

    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in scale(LEGEND_STEPS))
    return (
        '<div class="legend"><span>no evidence</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i><span>most evidence</span>'
        "<p>Where the last convolution found evidence for the class (Grad-CAM): it tells coarsely "
        "where, not why, and each map has its own scale.</p></div>"
    )


def stages_card(name: str, image: Image.Image, found: "dict[str, list[Prediction]]") -> str:
    """The picture above what each stage of the training says of it."""
    columns = "".join(_stage(stage, ranked) for stage, ranked in found.items())
    picture = _picture(image, name, THUMBNAIL)
    return (
        f'<article class="answer broad"><div class="head">{picture}<h4>{escape(name)}</h4></div>'
        f'<div class="stages">{columns}</div></article>'
    )


def _stage(stage: str, found: "list[Prediction]") -> str:
    title, what = STAGE_TITLES.get(stage, (stage, ""))
    return (
        f'<section class="stage"><h5>{escape(title)}</h5><p>{escape(what)}</p>'
        f"{_scores(found)}</section>"
    )


def _card(name: str, picture: str, body: str) -> str:
    return f'<article class="answer">{picture}<div><h4>{escape(name)}</h4>{body}</div></article>'


def _scores(found: "list[Prediction]") -> str:
    """A bar a class, best first."""
    rows = "".join(_row(i, prediction) for i, prediction in enumerate(found))
    return f'<ol class="scores">{rows}</ol>'


def _row(place: int, found: "Prediction") -> str:
    label = escape(_short(found.label))
    best = ' class="best"' if place == 0 else ""
    return (
        f'<li{best}><span class="name" title="{label}">{label}</span><span class="bar">'
        f'<i style="width:{100 * found.score:.1f}%"></i></span>'
        f'<span class="n">{percent(found.score)}</span></li>'
    )


def percent(score: float) -> str:
    """Never 100 % for what is not certain, never 0 % for what is possible."""
    if 0.9995 <= score < 1:
        return "> 99.9%"
    return "< 0.1%" if 0 < score < 0.0005 else f"{score:.1%}"


def _short(label: str) -> str:
    return label if len(label) <= LABEL_AT_MOST else label[: LABEL_AT_MOST - 1] + "…"


def _warning(text: str) -> str:
    return f'<p class="warning">{escape(text)}</p>'


def _figure(picture: str, caption: str, score: float | None = None) -> str:
    told = "" if score is None else f", {percent(score)}"
    return f"<figure>{picture}<figcaption>{escape(caption + told)}</figcaption></figure>"


def _picture(image: Image.Image, name: str, side: int) -> str:
    """Inside the page: nothing of what a visitor shows is kept on disk for it."""
    file = io.BytesIO()
    _enlarged(image, side).save(file, "WEBP", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img class="thumb" src="data:image/webp;base64,{data}" alt="{escape(name)}">'


def _enlarged(image: Image.Image, side: int) -> Image.Image:
    """At most `side` large; tiny pictures grow by whole pixels, so that these can be seen."""
    image = image.copy()
    image.thumbnail((side, side))
    times = max(1, side // max(image.size))
    size = (image.width * times, image.height * times)
    return image.resize(size, Image.Resampling.NEAREST)
