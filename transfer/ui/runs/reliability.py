"""How far a run's scores can be trusted: calibration, sets of classes, and unknown pictures."""

from transfer.runs.run import Run
from transfer.ui.shared.plot import SHARE, Plot

WIDTH, HEIGHT = 260, 244  # in SVG units: square between the axes


def reliability(run: Run) -> str:
    """Empty for a run of an older version."""
    if "calibration" not in run.report:
        return ""
    calibration, sets, unknown = (run.report[name] for name in ("calibration", "sets", "unknown"))
    before, after = calibration["before"], calibration["after"]
    return (
        "<h3>How far its scores can be trusted</h3>"
        f'<div class="trust">{_diagram(before["bins"], after["bins"])}<ul>'
        f"<li><b>{after['error']:.3f}</b> expected calibration error on the test images; "
        f"{before['error']:.3f} before the logits were divided by {calibration['temperature']:.2f}."
        " At 0, of all answers with a score of 80 % exactly 80 % are right.</li>"
        f"<li><b>{sets['covered']:.0%}</b> of the test images have their class in the answer's set,"
        f" which should be 90 %. A set has {sets['size']:.1f} classes on average.</li>"
        f"<li><b>{unknown['found']:.1%}</b> of the test images are called unlike anything it was "
        f"taught, which should be about {unknown['expected']:.0%}.</li>"
        f"{_others(unknown.get('others'))}</ul></div>"
    )


def _others(others: dict | None) -> str:
    """Of a training with photos of other things."""
    if not others:
        return ""
    return (
        f"<li><b>{others['found']:.1%}</b> of the {others['images']} photos of other things are "
        "called so, each judged by the rest of them.</li>"
    )


def _diagram(before: list[dict], after: list[dict]) -> str:
    """Accuracy over score, in tenths of the score; a dot's area grows with its images."""
    plot = Plot(SHARE, SHARE, WIDTH, HEIGHT)
    dots = [
        plot.dot(kind, b["confidence"], b["accuracy"], 2 + 9 * (b["images"] / images) ** 0.5)
        for kind, bins in (("before", before), ("after", after))
        for images in [sum(b["images"] for b in bins)]
        for b in bins
    ]
    ideal = plot.line("ideal", (0, 0), (1, 1))
    return (
        f"<figure>{plot.svg('Reliability diagram: accuracy by score', 'score', ideal, *dots)}"
        '<figcaption>accuracy by score: <span class="key before">before</span> '
        '<span class="key after">after calibration</span></figcaption></figure>'
    )
