"""Two or more runs side by side: what each step bought them, and where their classes differ."""

from html import escape

from transfer.formatting import duration
from transfer.runs.run import Run
from transfer.ui.runs.report import STAGE_NAMES, interval_bar

CLASSES_SHOWN = 20
FEWEST, MOST = 2, 6


def comparison(runs: list[tuple[str, Run]]) -> str:
    """`runs` are (name, run), the first one is what the others are measured against."""
    parts = (_same_images(runs), _settings(runs), _stages(runs), _classes(runs))
    return f'<div class="report">{"".join(parts)}</div>'


def _same_images(runs: list[tuple[str, Run]]) -> str:
    judged_on = {
        (
            run.record["source"],
            run.record["revision"],
            run.record["seed"],
            run.settings.limit_per_class,
        )
        for _, run in runs
    }
    if len(judged_on) == 1:
        return "<p>All were judged on the same test images.</p>"
    return (
        '<p class="warning">They were judged on different test images, so that a difference may '
        "come from the images as well.</p>"
    )


def _settings(runs: list[tuple[str, Run]]) -> str:
    """What was done for each, and what it took."""
    rows = "".join(f"<tr><th>{escape(name)}</th>{_row(run)}</tr>" for name, run in runs)
    names = ("run", "accuracy", "body", "pixels", "unfrozen", "head", "parameters", "time")
    head = "".join(f"<th>{name}</th>" for name in names)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Settings of the runs"><table>'
        f"<tr>{head}</tr>{rows}</table></div>"
    )


def _row(run: Run) -> str:
    settings, result = run.settings, run.record["result"]
    cells = (
        f"{run.accuracy:.1%}",
        result["weights"],
        f"{settings.image_size}",
        settings.unfreeze or "",
        settings.head.name,
        f"{result['head_parameters']:,}",
        duration(result["seconds"]),
    )
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _stages(runs: list[tuple[str, Run]]) -> str:
    parts = []
    for stage, title in STAGE_NAMES.items():
        reached = [(name, run.report["stages"].get(stage)) for name, run in runs]
        bars = [
            interval_bar(name, found["accuracy"], found["interval"])
            for name, found in reached
            if found
        ]
        if bars:
            parts.append(f'<h4>{escape(title)}</h4><ul class="steps">{"".join(bars)}</ul>')
    return f"<h3>What each step bought them</h3>{''.join(parts)}"


def _classes(runs: list[tuple[str, Run]]) -> str:
    """Recall by class, the largest differences first; of classes that all of them know."""
    recalls = [{c["label"]: c["recall"] for c in run.report["classes"]} for _, run in runs]
    common = [label for label in recalls[0] if all(label in recall for recall in recalls)]
    if not common:
        return "<p>They know no class in common.</p>"
    by_class = {label: [recall[label] for recall in recalls] for label in common}
    order = sorted(common, key=lambda label: min(by_class[label]) - max(by_class[label]))
    rows = "".join(_class_row(label, by_class[label]) for label in order[:CLASSES_SHOWN])
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in runs)
    left = len(order) - CLASSES_SHOWN
    more = f"<p>{left} more classes differ less.</p>" if left > 0 else ""
    return (
        "<h3>How many of each class are found</h3>"
        '<div class="wide" tabindex="0" role="region" aria-label="Recall by class">'
        f"<table><tr><th>class</th>{head}</tr>{rows}</table></div>{more}"
    )


def _class_row(label: str, recalls: list[float]) -> str:
    first, *others = recalls
    cells = f"<td>{first:.0%}</td>"
    for recall in others:
        points = round(100 * recall) - round(100 * first)
        kind = "better" if points > 0 else "worse" if points < 0 else ""
        change = f' <span class="{kind}">{points:+d}</span>' if points else ""
        cells += f"<td>{recall:.0%}{change}</td>"
    return f"<tr><th>{escape(label)}</th>{cells}</tr>"
