"""Charts of a training as SVG and HTML, in the page's own colours, light and dark."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from transfer import events
from transfer.settings import BLOCKS

WIDTH, HEIGHT = 330, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 28, 32
PHASE_TITLES = {"warm-up": "1 · Warm-up", "fine-tune": "2 · Fine-tune"}
SMALLEST_DRIFT = 1e-4
PARTS = ("head", *reversed(BLOCKS))


@dataclass(frozen=True, kw_only=True)
class Line:
    """`points` are (epoch, value); `kind` is its class in the style sheet."""

    name: str
    kind: str
    points: list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where a value stands, 0 (low) to 1 (high); what is written at the grid's lines."""

    place: Callable[[float], float]
    grid: tuple[float, ...]
    label: Callable[[float], str]


def charts(history: list[events.Event], *, live: bool = False) -> str:
    """Accuracy, loss and drift over the epochs of both phases; side by side, on phones stacked.

    While a training is `live` their place is kept for them.
    """
    epochs = _epochs(history)
    if len(epochs) < 2:
        return '<div class="charts waiting"></div>' if live else ""
    spans = _spans(epochs)
    drawn = (_accuracy(epochs, spans), _losses(epochs, spans), _drifts(epochs, spans))
    return f'<div class="charts">{"".join(drawn)}</div>'


def _epochs(history: list[events.Event]) -> list[tuple[int, events.EpochDone]]:
    """(x, epoch): fine-tune's epoch 0 stands where warm-up's best epoch was taken over."""
    return list(enumerate(event for event in history if isinstance(event, events.EpochDone)))


def _spans(epochs) -> list[tuple[str, int, int]]:
    """(phase, first x, last x) in order."""
    spans = []
    for phase in PHASE_TITLES:
        at = [x for x, epoch in epochs if epoch.phase == phase]
        if at:
            spans.append((phase, at[0], at[-1]))
    return spans


def _accuracy(epochs, spans) -> str:
    points = [(x, e.validation_accuracy) for x, e in epochs]
    lines = [Line(name="held-out accuracy", kind="a", points=points)]
    return _chart("Accuracy", lines, spans, _linear(1.0, lambda y: f"{y:.0%}"))


def _losses(epochs, spans) -> str:
    training = [(x, e.loss) for x, e in epochs if e.loss is not None]
    held_out = [(x, e.validation_loss) for x, e in epochs]
    lines = [
        Line(name="training loss", kind="b", points=training),
        Line(name="held-out loss", kind="a", points=held_out),
    ]
    highest = max(y for line in lines for _, y in line.points)
    return _chart("Loss", lines, spans, _linear(highest, lambda y: f"{y:.2f}"))


def _drifts(epochs, spans) -> str:
    """How far each part is from where the phase began, each power of ten as high as the next."""
    lines = []
    for name in PARTS:
        points = [(x, e.drift[name]) for x, e in epochs if e.drift.get(name, 0) > 0]
        if points:
            lines.append(Line(name=name, kind=name, points=points))
    return _chart("Drift since the phase began", lines, spans, _powers_of_ten())


def _linear(highest: float, label: Callable[[float], str]) -> Axis:
    highest = max(highest, 1e-9)
    grid = (0, highest / 2, highest)
    return Axis(place=lambda y: min(max(y / highest, 0), 1), grid=grid, label=label)


def _powers_of_ten() -> Axis:
    lowest = math.log10(SMALLEST_DRIFT)

    def place(y: float) -> float:
        return min(max(1 - math.log10(max(y, SMALLEST_DRIFT)) / lowest, 0), 1)

    return Axis(place=place, grid=(1e-4, 1e-3, 1e-2, 1e-1, 1), label=_percent)


def _percent(moved: float) -> str:
    return f"{100 * moved:.2g}%" if moved < 0.995 else f"{moved:.0%}"


def _chart(title: str, lines: list[Line], spans, axis: Axis) -> str:
    last = max(spans[-1][2], 1)

    def px(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.place(y)

    parts = [_shade(phase, px(max(first - 0.5, 0)), px(end)) for phase, first, end in spans]
    parts += [_grid(py(y), axis.label(y)) for y in axis.grid]
    for line in lines:
        points = [(px(x), py(y)) for x, y in line.points]
        parts += [_polyline(line.kind, part) for part in _unbroken(points, spans, px)]
        parts.append(_dot(line.kind, *points[-1]))
    if len(lines) < 3 and lines:
        x, y = lines[-1].points[-1]
        parts.append(_last_value(px(x), py(y), axis.label(y)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epochs", "middle"))
    names = " ".join(f'<span class="key {line.kind}">{line.name}</span>' for line in lines)
    said = f"{title} after {last} epochs: " + ", ".join(
        f"{line.name} {axis.label(line.points[-1][1])}" for line in lines
    )
    box = f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    caption = f"<figcaption><b>{title}</b> {names}</figcaption>"
    return f"<figure>{caption}{box}{''.join(parts)}</svg></figure>"


def _unbroken(points, spans, px) -> list[list[tuple[float, float]]]:
    """The same line in one part a phase: what is between two of them was not trained."""
    if len(spans) < 2:
        return [points]
    border = px(spans[1][1]) - 1e-6
    parts = [p for p in points if p[0] < border], [p for p in points if p[0] >= border]
    return [part for part in parts if part]


def _shade(phase: str, left: float, right: float) -> str:
    width = max(right - left, 1)
    box = f'<rect class="{phase}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" '
    box += f'height="{HEIGHT - TOP - BOTTOM}"/>'
    short = PHASE_TITLES[phase] if width > 80 else PHASE_TITLES[phase][0]
    return box + _text(left + width / 2, TOP - 10, short, "middle")


def _grid(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(LEFT - 6, y + 4, label, "end")


def _polyline(kind: str, points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{path}"/>'


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _last_value(x: float, y: float, label: str) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    above = y - 8 if y > TOP + 20 else y + 18
    return _text(x, above, label, anchor, "value")


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
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
