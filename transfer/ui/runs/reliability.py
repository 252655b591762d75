"""How far a run's scores can be trusted: calibration, sets of classes, and unknown pictures."""

from transfer.runs.run import Run

SIDE, LEFT, BOTTOM = 200, 44, 40  # of the diagram in SVG units; the margins hold the axes' labels
TOP, RIGHT = 12, 22
GRID = (0.0, 0.5, 1.0)


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
    lines = "".join(_grid(value) for value in GRID)
    dots = "".join(
        f'<circle class="{kind}" cx="{_x(b["confidence"]):.1f}" cy="{_y(b["accuracy"]):.1f}" '
        f'r="{_radius(b, bins):.1f}"/>'
        for kind, bins in (("before", before), ("after", after))
        for b in bins
    )
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    return (
        '<figure><svg role="img" aria-label="Reliability diagram: accuracy by score" '
        f'viewBox="0 0 {width} {height}">{lines}'
        f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>{dots}'
        f'<text x="{_x(0.5)}" y="{height - 4}" text-anchor="middle">score</text></svg>'
        '<figcaption>accuracy by score: <span class="key before">before</span> '
        '<span class="key after">after calibration</span></figcaption></figure>'
    )


def _grid(value: float) -> str:
    x, y, label = _x(value), _y(value), f"{value:.0%}"
    return (
        f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>'
        f'<text x="{x}" y="{TOP + SIDE + 16}" text-anchor="middle">{label}</text>'
    )


def _radius(part: dict, bins: list[dict]) -> float:
    return 2 + 9 * (part["images"] / sum(b["images"] for b in bins)) ** 0.5


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)
