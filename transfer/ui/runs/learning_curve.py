"""Whether more photos would help, as a chart and in sentences."""

import math
from html import escape
from typing import TYPE_CHECKING

from transfer.formatting import isolated, points_gained
from transfer.ui.shared.plot import Axis, Plot

if TYPE_CHECKING:
    from transfer.training.learning_curve import LearningCurve

WIDTH, HEIGHT = 460, 240  # in SVG units
STEPS, MARKS_AT_MOST = (0.01, 0.02, 0.05, 0.1, 0.2), 6  # of the accuracy


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


def _chart(found: "LearningCurve") -> str:
    """Accuracy over the number of photos, with intervals, and the estimate for twice as many."""
    points, last = found.points, 2 * found.images
    known = [(point["images"], point["accuracy"]) for point in points]
    (first, start), (_, base) = known[0], known[-1]
    gain, expected = found.doubled["gain"], [base + gain for gain in found.doubled["expected"]]
    ends = [*expected, *(point[end] for point in points for end in ("low", "high"))]
    low, high = max(0.0, min(ends)), min(1.0, max(ends))
    marks = dict.fromkeys((first, known[len(known) // 2][0], found.images, last))
    photos = Axis(first, last, tuple(marks), "{:,}".format, math.log)
    plot = Plot(photos, Axis(low, max(high, low + 0.01), _marks(low, high)), WIDTH, HEIGHT)
    drawn = plot.svg(
        f"Accuracy by number of photos: {start:.1%} to {base:.1%}",
        "photos",
        *(plot.line("interval", (p["images"], p["low"]), (p["images"], p["high"])) for p in points),
        plot.line("interval ahead", *((last, end) for end in expected)),
        plot.line("line a", *known),
        plot.line("line ahead", known[-1], (last, base + gain)),
    )
    return f'<figure class="charts learning">{drawn}</figure>'


def _marks(low: float, high: float) -> tuple[float, ...]:
    """At most MARKS_AT_MOST round accuracies within the range."""
    step = next((s for s in STEPS if (high - low) / s < MARKS_AT_MOST), 0.5)
    return tuple(i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1))
