"""Charts of a training as SVG and HTML, in the page's own colours, light and dark."""

import math
from collections.abc import Callable
from html import escape
from typing import NamedTuple

from transfer import events
from transfer.settings import BLOCKS

WIDTH, HEIGHT = 330, 214  # of a chart, in SVG units; the margins hold the axes' labels
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 28, 32
PHASE_TITLES = {"warm-up": "1 · Warm-up", "fine-tune": "2 · Fine-tune"}
BARS = 20


class Line(NamedTuple):
    """`points` are (epoch, value); `kind` is its class in the style sheet."""

    name: str
    kind: str
    points: list[tuple[int, float]]


class Axis(NamedTuple):
    """`place` maps a value to its height, 0 to 1; `grid` holds the values with a labelled line."""

    place: Callable[[float], float]
    grid: tuple[float, ...]
    label: Callable[[float], str]


DRIFT_AXIS = Axis(  # logarithmic, from 0.01 %
    place=lambda y: 1 + math.log10(max(y, 1e-4)) / 4,
    grid=(1e-4, 1e-3, 1e-2, 1e-1, 1),
    label=lambda y: f"{100 * y:.2g}%" if y < 0.995 else f"{y:.0%}",
)


def charts(history: list[events.Event], *, live: bool = False) -> str:
    """Accuracy, loss and drift over the epochs of both phases, side by side or stacked on phones.

    While `live`, empty charts keep their place. Fine-tune's epoch 0 is the state after warm-up.
    """
    epochs = list(enumerate(event for event in history if isinstance(event, events.EpochDone)))
    if len(epochs) < 2:
        return '<div class="charts waiting"></div>' if live else ""
    phases = {phase: [x for x, epoch in epochs if epoch.phase == phase] for phase in PHASE_TITLES}
    accuracy = [(x, epoch.validation_accuracy) for x, epoch in epochs]
    training = [(x, epoch.loss) for x, epoch in epochs if epoch.loss is not None]
    validation = [(x, epoch.validation_loss) for x, epoch in epochs]
    losses = [Line("training loss", "b", training), Line("validation loss", "a", validation)]
    highest = max(y for _, y in training + validation)
    moved = {
        name: [(x, epoch.drift[name]) for x, epoch in epochs if epoch.drift.get(name, 0) > 0]
        for name in ("head", *reversed(BLOCKS))
    }
    drifts = [Line(name, name, points) for name, points in moved.items() if points]
    drawn = (
        _chart("Accuracy", [Line("validation accuracy", "a", accuracy)], phases, _linear(1, ".0%")),
        _chart("Loss", losses, phases, _linear(highest, ".2f")),
        _chart("Drift since the phase began", drifts, phases, DRIFT_AXIS),
    )
    return f'<div class="charts">{"".join(drawn)}</div>'


def _linear(highest: float, digits: str) -> Axis:
    highest = max(highest, 1e-9)
    return Axis(lambda y: y / highest, (0, highest / 2, highest), lambda y: format(y, digits))


def _chart(title: str, lines: list[Line], phases: dict[str, list[int]], axis: Axis) -> str:
    """`phases` is phase → its epochs, counted over both phases."""
    spans = [(phase, min(at), max(at)) for phase, at in phases.items() if at]
    last = spans[-1][-1]

    def px(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(axis.place(y), 0), 1)

    parts = [_shade(phase, px(max(first - 0.5, 0)), px(end)) for phase, first, end in spans]
    parts += [_grid(py(y), axis.label(y)) for y in axis.grid]
    for line in lines:
        for _, first, end in spans:  # not joined: between the phases nothing was trained
            within = [(x, y) for x, y in line.points if first <= x <= end]
            path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in within)
            parts.append(f'<polyline class="line {line.kind}" points="{path}"/>')
        x, y = line.points[-1]
        parts.append(f'<circle class="dot {line.kind}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5"/>')
    if 0 < len(lines) < 3:
        anchor, offset = "end" if px(x) > WIDTH / 2 else "start", -8 if py(y) > TOP + 20 else 18
        parts.append(_text(px(x), py(y) + offset, axis.label(y), anchor, "value"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epochs", "middle"))
    keys = " ".join(f'<span class="key {line.kind}">{line.name}</span>' for line in lines)
    values = ", ".join(f"{line.name} {axis.label(line.points[-1][1])}" for line in lines)
    return (
        f"<figure><figcaption><b>{title}</b> {keys}</figcaption>"
        f'<svg role="img" aria-label="{title} after {last} epochs: {values}" '
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


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def bars(counts: dict[str, int]) -> str:
    """A bar for each class, with its number of images."""
    largest = max(counts.values(), default=1) or 1
    rows = "".join(
        f'<li><span class="name">{escape(name)}</span><span class="bar">'
        f'<i style="width:{100 * n / largest:.0f}%"></i></span><span class="n">{n}</span></li>'
        for name, n in list(counts.items())[:BARS]
    )
    more = f"<p>and {len(counts) - BARS} more classes</p>" if len(counts) > BARS else ""
    return f'<ul class="bars">{rows}</ul>{more}'
