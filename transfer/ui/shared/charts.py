"""Charts of a training as SVG and HTML, in the page's own colours, light and dark."""

import math
from typing import NamedTuple

from transfer import events
from transfer.settings import BLOCKS
from transfer.ui.shared.plot import BOTTOM, SHARE, Axis, Plot, text
from transfer.ui.shared.tables import bar

WIDTH, HEIGHT, TOP = 330, 216, 28  # of a chart, in SVG units; the phases are named above it
PHASE_TITLES = {"warm-up": "1 · Warm-up", "fine-tune": "2 · Fine-tune"}
BARS = 20
DRIFT = Axis(
    low=1e-4,
    high=1,
    marks=(1e-4, 1e-3, 1e-2, 1e-1, 1),
    label=lambda y: f"{100 * y:.2g}%" if y < 0.995 else f"{y:.0%}",
    scale=math.log,
)
Span = tuple[str, int, int]  # a phase, and its first and last epoch, counted over both phases


class Line(NamedTuple):
    """`points` are (epoch, value); `kind` is its class in the style sheet."""

    name: str
    kind: str
    points: list[tuple[int, float]]


def charts(history: list[events.Event], *, live: bool = False) -> str:
    """Accuracy, loss and drift over the epochs of both phases, side by side or stacked on phones.

    While `live`, empty charts keep their place. Fine-tune's epoch 0 is the state after warm-up.
    """
    epochs = list(enumerate(event for event in history if isinstance(event, events.EpochDone)))
    if len(epochs) < 2:
        return '<div class="charts waiting"></div>' if live else ""
    at = {phase: [x for x, epoch in epochs if epoch.phase == phase] for phase in PHASE_TITLES}
    spans = [(phase, found[0], found[-1]) for phase, found in at.items() if found]
    accuracy = [(x, epoch.validation_accuracy) for x, epoch in epochs]
    training = [(x, epoch.loss) for x, epoch in epochs if epoch.loss is not None]
    validation = [(x, epoch.validation_loss) for x, epoch in epochs]
    losses = [Line("training loss", "b", training), Line("validation loss", "a", validation)]
    highest = max(1e-9, *(y for _, y in training + validation))
    moved = {
        name: [(x, epoch.drift[name]) for x, epoch in epochs if epoch.drift.get(name, 0) > 0]
        for name in ("head", *reversed(BLOCKS))
    }
    drifts = [Line(name, name, points) for name, points in moved.items() if points]
    drawn = (
        _chart("Accuracy", [Line("validation accuracy", "a", accuracy)], spans, SHARE),
        _chart("Loss", losses, spans, Axis(0, highest, (0, highest / 2, highest), "{:.2f}".format)),
        _chart("Drift since the phase began", drifts, spans, DRIFT),
    )
    return f'<div class="charts">{"".join(drawn)}</div>'


def _chart(title: str, lines: list[Line], spans: list[Span], axis: Axis) -> str:
    last = spans[-1][-1]
    plot = Plot(Axis(0, last), axis, WIDTH, HEIGHT, TOP)
    parts = [_shade(plot, *span) for span in spans]
    for line in lines:
        for _, first, end in spans:  # not joined: between the phases nothing was trained
            within = [point for point in line.points if first <= point[0] <= end]
            parts.append(plot.line(f"line {line.kind}", *within))
        parts.append(plot.dot(f"dot {line.kind}", *line.points[-1]))
    if 0 < len(lines) < 3:
        x, y = plot.at(*line.points[-1])
        value = axis.label(line.points[-1][1])
        parts.append(text(x, y - 8 if y > TOP + 20 else y + 18, value, "end", "value"))
    keys = " ".join(f'<span class="key {line.kind}">{line.name}</span>' for line in lines)
    values = ", ".join(f"{line.name} {axis.label(line.points[-1][1])}" for line in lines)
    drawn = plot.svg(f"{title} after {last} epochs: {values}", "epochs", *parts)
    return f"<figure><figcaption><b>{title}</b> {keys}</figcaption>{drawn}</figure>"


def _shade(plot: Plot, phase: str, first: int, last: int) -> str:
    left, right = (plot.at(x, 0)[0] for x in (max(first - 0.5, 0), last))
    width = max(right - left, 1)
    title = PHASE_TITLES[phase] if width > 80 else PHASE_TITLES[phase][0]
    return (
        f'<rect class="{phase}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/>{text(left + width / 2, TOP - 10, title)}'
    )


def bars(counts: dict[str, int]) -> str:
    """A bar for each class, with its number of images."""
    largest = max(counts.values(), default=1) or 1
    rows = "".join(bar(name, n / largest, str(n)) for name, n in [*counts.items()][:BARS])
    more = f"<p>and {len(counts) - BARS} more classes</p>" if len(counts) > BARS else ""
    return f'<ul class="bars">{rows}</ul>{more}'
