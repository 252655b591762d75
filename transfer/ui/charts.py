"""Pictures of a training as SVG and HTML, in the page's own colours, light and dark."""

import base64
import io
from html import escape

from PIL import Image

from transfer import events
from transfer.settings import BLOCKS

THUMBNAIL = 128
WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 34
PHASE_TITLES = {"warm-up": "1 · Warm-up", "fine-tune": "2 · Fine-tune"}


def charts(history: list[events.Event]) -> str:
    """Accuracy and loss over the epochs of both phases, side by side or, on phones, stacked."""
    epochs = _epochs(history)
    if len(epochs) < 2:
        return ""
    accuracy = [("held-out accuracy", "a", [(x, e.validation_accuracy) for x, e in epochs])]
    losses = [
        ("training loss", "b", [(x, e.loss) for x, e in epochs if e.loss is not None]),
        ("held-out loss", "a", [(x, e.validation_loss) for x, e in epochs]),
    ]
    spans = _spans(epochs)
    highest = max(y for _, _, points in losses for _, y in points)
    return (
        '<div class="charts">'
        + _chart("Accuracy", accuracy, spans, 1.0, lambda y: f"{y:.0%}")
        + _chart("Loss", losses, spans, highest, lambda y: f"{y:.2f}")
        + "</div>"
    )


def _epochs(history: list[events.Event]) -> list[tuple[int, events.EpochDone]]:
    """(x, epoch): fine-tune's epoch 0 stands where warm-up's best epoch was taken over."""
    epochs = [event for event in history if isinstance(event, events.EpochDone)]
    return list(enumerate(epochs))


def _spans(epochs) -> list[tuple[str, int, int]]:
    """(phase, first x, last x) in order."""
    spans = []
    for phase in PHASE_TITLES:
        at = [x for x, epoch in epochs if epoch.phase == phase]
        if at:
            spans.append((phase, at[0], at[-1]))
    return spans


def _chart(title, series, spans, highest, label) -> str:
    last = max(spans[-1][2], 1)

    def px(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(y / max(highest, 1e-9), 1)

    parts = [_shade(phase, px(max(first - 0.5, 0)), px(end)) for phase, first, end in spans]
    parts += [_grid(py(highest * share), label(highest * share)) for share in (0, 0.5, 1)]
    parts += [_line(kind, [(px(x), py(y)) for x, y in points]) for _, kind, points in series]
    last_x, last_y = series[-1][2][-1]
    parts.append(_last_value(px(last_x), py(last_y), label(last_y)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epochs", "middle"))
    names = " ".join(f'<span class="key {kind}">{name}</span>' for name, kind, _ in series)
    said = f"{title} after {last} epochs: {label(series[-1][2][-1][1])}"
    box = f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    caption = f"<figcaption><b>{title}</b> {names}</figcaption>"
    return f"<figure>{caption}{box}{''.join(parts)}</svg></figure>"


def _shade(phase: str, left: float, right: float) -> str:
    width = max(right - left, 1)
    box = f'<rect class="{phase}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" '
    box += f'height="{HEIGHT - TOP - BOTTOM}"/>'
    short = PHASE_TITLES[phase] if width > 80 else PHASE_TITLES[phase][0]
    return box + _text(left + width / 2, TOP - 10, short, "middle")


def _grid(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(LEFT - 6, y + 4, label, "end")


def _line(kind: str, points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{path}"/>'


def _last_value(x: float, y: float, label: str) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    above = y - 8 if y > TOP + 20 else y + 18
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' + _text(
        x, above, label, anchor, "value"
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def network_picture(learns: list[str], drift: dict[str, float] | None = None) -> str:
    """The five blocks and the head: what is frozen, what learns, and how far it has moved."""
    parts = []
    for name in (*BLOCKS, "head"):
        state = "learns" if name in learns else "frozen"
        moved = f"moved {drift[name]:.2%}" if drift and drift.get(name) else state
        parts.append(f'<li class="{state}"><b>{name}</b><span>{moved}</span></li>')
    return (
        f'<ol class="network" aria-label="The network from image to answer">{"".join(parts)}</ol>'
    )


def bars(counts: dict[str, int], at_most: int = 20) -> str:
    """A bar a class with its number of images."""
    largest = max(counts.values(), default=1) or 1
    rows = "".join(
        f'<li><span class="name">{escape(name)}</span><span class="bar">'
        f'<i style="width:{100 * n / largest:.0f}%"></i></span><span class="n">{n}</span></li>'
        for name, n in list(counts.items())[:at_most]
    )
    more = f"<p>and {len(counts) - at_most} more classes</p>" if len(counts) > at_most else ""
    return f'<ul class="bars">{rows}</ul>{more}'


def thumbnails(pictures: list[tuple[Image.Image, str]]) -> str:
    """RGB pictures with a word under each, inside the page: nothing of them is kept on disk."""
    figures = "".join(
        f'<figure><img src="{_inline(picture)}" alt="{escape(word)}"><figcaption>{escape(word)}'
        "</figcaption></figure>"
        for picture, word in pictures
    )
    return f'<div class="thumbnails">{figures}</div>'


def _inline(picture: Image.Image) -> str:
    """A data URL; tiny pictures grow by whole pixels, so that these can be seen."""
    picture = picture.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    times = max(1, THUMBNAIL // max(picture.size))
    size = (picture.width * times, picture.height * times)
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
