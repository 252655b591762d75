"""Whether more photos would help, as a chart and in sentences."""

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from transfer.formatting import isolated, points_gained

if TYPE_CHECKING:
    from transfer.training.learning_curve import LearningCurve

WIDTH, HEIGHT = 460, 240  # in SVG units; the margins hold the axes' labels
LEFT, RIGHT, TOP, BOTTOM = 50, 16, 12, 38
GRID_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # of the accuracy
LINES_AT_MOST = 6


def curve_report(found: "LearningCurve") -> str:
    """What a logistic regression on parts of the photos says about twice as many."""
    gain, (low, high) = found.doubled["gain"], found.doubled["expected"]
    rows = "".join(
        f"<li>{row['more']} more of <b>{escape(isolated(row['label']))}</b>: "
        f"{points_gained(row['low'], row['high'])} over all classes</li>"
        for row in found.helpful
    )
    none = "<li>No single class stands out: more photos of all of them.</li>"
    return (
        '<div class="report"><h3>Would more photos help?</h3>'
        f"<p>With twice as many photos ({2 * found.images:,}): <b>{100 * gain:+.1f} points</b> of "
        f"accuracy, {points_gained(low, high)} with 95 % confidence.</p>{_chart(found)}"
        f"<ul>{rows or none}</ul><p>Estimated with a linear classifier on the frozen body, "
        "cross-validated on parts of the photos; fine-tuning starts from there.</p></div>"
    )


class _Axes(NamedTuple):
    """The photos on a logarithmic axis from `first` to `last`, the accuracy from `bottom` to `top`;
    places are in SVG units."""

    first: int
    last: int
    bottom: float
    top: float

    def x(self, photos: float) -> float:
        share = math.log(photos / self.first) / math.log(self.last / self.first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, accuracy: float) -> float:
        share = (min(max(accuracy, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)
        return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)

    def interval(self, photos: int, low: float, high: float, kind: str = "") -> str:
        place = f'x1="{self.x(photos)}" x2="{self.x(photos)}"'
        return f'<line class="interval {kind}" {place} y1="{self.y(low)}" y2="{self.y(high)}"/>'

    def line(self, points: list[tuple[int, float]], kind: str) -> str:
        path = " ".join(f"{self.x(photos)},{self.y(accuracy)}" for photos, accuracy in points)
        return f'<polyline class="line {kind}" points="{path}"/>'

    def number(self, photos: int) -> str:
        anchor = "end" if photos == self.last else "middle"
        place = f'x="{self.x(photos)}" y="{HEIGHT - 20}" text-anchor="{anchor}"'
        return f"<text {place}>{photos:,}</text>"


def _chart(found: "LearningCurve") -> str:
    """Accuracy over the number of photos, with intervals, and the estimate for twice as many."""
    points, doubled, last = found.points, found.doubled, 2 * found.images
    known = [(point["images"], point["accuracy"]) for point in points]
    base = known[-1][1]
    low, high = (base + gain for gain in doubled["expected"])
    ends = [low, high, *(point[end] for point in points for end in ("low", "high"))]
    bottom, top = max(0.0, min(ends)), min(1.0, max(ends))
    axes = _Axes(known[0][0], last, bottom, max(top, bottom + 0.01))
    parts = [_grid(value, axes.y(value)) for value in _grid_values(bottom, top)]
    parts += [axes.interval(p["images"], p["low"], p["high"]) for p in points]
    parts += [axes.interval(last, low, high, "ahead"), axes.line(known, "a")]
    parts += [axes.line([known[-1], (last, base + doubled["gain"])], "ahead")]
    shown = dict.fromkeys((known[0][0], known[len(known) // 2][0], found.images, last))
    parts += [axes.number(photos) for photos in shown]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">photos</text>')
    label = f"Accuracy by number of photos: {known[0][1]:.1%} to {base:.1%}"
    return (
        f'<figure class="charts learning"><svg role="img" aria-label="{label}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg></figure>'
    )


def _grid_values(bottom: float, top: float) -> list[float]:
    """At most LINES_AT_MOST round accuracies within the range."""
    step = next((s for s in GRID_STEPS if (top - bottom) / s < LINES_AT_MOST), 0.5)
    return [i * step for i in range(math.ceil(bottom / step), math.floor(top / step) + 1)]


def _grid(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.0%}</text>'
    )
