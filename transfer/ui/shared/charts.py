"""Charts of a training as SVG and HTML, in the page's own colours, light and dark."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from transfer import events
from transfer.settings import BLOCKS

WIDTH, HEIGHT = 330, 214  # of a chart, in SVG units; the margins hold the axes' labels
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 28, 32
PHASE_TITLES = {"warm-up": "1 · Warm-up", "fine-tune": "2 · Fine-tune"}
SMALLEST_DRIFT = 1e-4
PARTS = ("head", *reversed(BLOCKS))

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """`points` are (epoch, value); `kind` is its class in the style sheet."""

    name: str
    kind: str
    points: list[Point]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """`place` maps a value to its height, 0 to 1; `grid` holds the values with a labelled line."""

    place: Callable[[float], float]
    grid: tuple[float, ...]
    label: Callable[[float], str]


class Span(NamedTuple):
    """The epochs of a phase, counted over both phases."""

    phase: str
    first: int
    last: int


def charts(history: list[events.Event], *, live: bool = False) -> str:
    """Accuracy, loss and drift over the epochs of both phases, side by side or stacked on phones.

    While a training is `live`, empty charts keep their place. Epoch 0 of fine-tune is the state
    that it takes over from warm-up.
    """
    epochs = list(enumerate(event for event in history if isinstance(event, events.EpochDone)))
    if len(epochs) < 2:
        return '<div class="charts waiting"></div>' if live else ""
    by_phase = {phase: [x for x, epoch in epochs if epoch.phase == phase] for phase in PHASE_TITLES}
    spans = [Span(phase, at[0], at[-1]) for phase, at in by_phase.items() if at]
    drawn = (_accuracy(epochs, spans), _losses(epochs, spans), _drifts(epochs, spans))
    return f'<div class="charts">{"".join(drawn)}</div>'


def _accuracy(epochs: list, spans: list[Span]) -> str:
    points = [(x, epoch.validation_accuracy) for x, epoch in epochs]
    lines = [Line(name="validation accuracy", kind="a", points=points)]
    return _chart("Accuracy", lines, spans, _linear(1.0, lambda y: f"{y:.0%}"))


def _losses(epochs: list, spans: list[Span]) -> str:
    training = [(x, epoch.loss) for x, epoch in epochs if epoch.loss is not None]
    validation = [(x, epoch.validation_loss) for x, epoch in epochs]
    lines = [
        Line(name="training loss", kind="b", points=training),
        Line(name="validation loss", kind="a", points=validation),
    ]
    highest = max(y for line in lines for _, y in line.points)
    return _chart("Loss", lines, spans, _linear(highest, lambda y: f"{y:.2f}"))


def _drifts(epochs: list, spans: list[Span]) -> str:
    """Each part's distance from the start of its phase, on a logarithmic axis."""
    points = {
        name: [(x, epoch.drift[name]) for x, epoch in epochs if epoch.drift.get(name, 0) > 0]
        for name in PARTS
    }
    lines = [Line(name=name, kind=name, points=found) for name, found in points.items() if found]
    return _chart("Drift since the phase began", lines, spans, _powers_of_ten())


def _linear(highest: float, label: Callable[[float], str]) -> Axis:
    highest = max(highest, 1e-9)
    grid = (0, highest / 2, highest)
    return Axis(place=lambda y: min(max(y / highest, 0), 1), grid=grid, label=label)


def _powers_of_ten() -> Axis:
    lowest = math.log10(SMALLEST_DRIFT)

    def place(y: float) -> float:
        return min(max(1 - math.log10(max(y, SMALLEST_DRIFT)) / lowest, 0), 1)

    def percent(y: float) -> str:
        return f"{100 * y:.2g}%" if y < 0.995 else f"{y:.0%}"

    return Axis(place=place, grid=(1e-4, 1e-3, 1e-2, 1e-1, 1), label=percent)


def _chart(title: str, lines: list[Line], spans: list[Span], axis: Axis) -> str:
    last = max(spans[-1].last, 1)

    def px(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.place(y)

    parts = [_shade(span.phase, px(max(span.first - 0.5, 0)), px(span.last)) for span in spans]
    parts += [_grid(py(y), axis.label(y)) for y in axis.grid]
    for line in lines:
        for span in spans:  # not joined: between the phases nothing was trained
            points = [(px(x), py(y)) for x, y in line.points if span.first <= x <= span.last]
            parts.append(_polyline(line.kind, points) if points else "")
        x, y = line.points[-1]
        parts.append(f'<circle class="dot {line.kind}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5"/>')
    if 0 < len(lines) < 3:
        parts.append(_last_value(px(x), py(y), axis.label(y)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epochs", "middle"))
    keys = " ".join(f'<span class="key {line.kind}">{line.name}</span>' for line in lines)
    values = ", ".join(f"{line.name} {axis.label(line.points[-1][1])}" for line in lines)
    return (
        f"<figure><figcaption><b>{title}</b> {keys}</figcaption>"
        f'<svg role="img" aria-label="{escape(f"{title} after {last} epochs: {values}")}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg></figure>'
    )


def _shade(phase: str, left: float, right: float) -> str:
    width = max(right - left, 1)
    title = PHASE_TITLES[phase] if width > 80 else PHASE_TITLES[phase][0]
    return (
        f'<rect class="{phase}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/>{_text(left + width / 2, TOP - 10, title, "middle")}'
    )


def _grid(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(LEFT - 6, y + 4, label, "end")


def _polyline(kind: str, points: list[Point]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{path}"/>'


def _last_value(x: float, y: float, label: str) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    above = y - 8 if y > TOP + 20 else y + 18
    return _text(x, above, label, anchor, "value")


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def bars(counts: dict[str, int], at_most: int = 20) -> str:
    """A bar for each class, with its number of images."""
    largest = max(counts.values(), default=1) or 1
    rows = "".join(
        f'<li><span class="name">{escape(name)}</span><span class="bar">'
        f'<i style="width:{100 * n / largest:.0f}%"></i></span><span class="n">{n}</span></li>'
        for name, n in list(counts.items())[:at_most]
    )
    more = f"<p>and {len(counts) - at_most} more classes</p>" if len(counts) > at_most else ""
    return f'<ul class="bars">{rows}</ul>{more}'
