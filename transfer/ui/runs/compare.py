"""Two or more runs side by side: settings, accuracy after each phase and recall by class."""

from html import escape

from transfer.formatting import duration
from transfer.runs.run import Run
from transfer.ui.runs.report import PHASES
from transfer.ui.runs.tables import interval_bar, scrolling, table

FEWEST, MOST = 2, 6  # runs in one comparison
CLASSES_SHOWN = 20
SETTINGS = ("run", "accuracy", "body", "pixels", "unfrozen", "head", "parameters", "time")


def comparison(runs: list[tuple[str, Run]]) -> str:
    """`runs` are (name, run); differences are relative to the first one."""
    settings = table(SETTINGS, [[escape(name), *_settings(run)] for name, run in runs])
    return (
        f'<div class="report">{_test_images(runs)}{scrolling(settings, "Settings of the runs")}'
        f"<h3>Accuracy after each phase</h3>{_phases(runs)}<h3>Recall by class</h3>"
        f"{_classes(runs)}</div>"
    )


def _test_images(runs: list[tuple[str, Run]]) -> str:
    """Whether all runs have the same test images, which these values determine."""
    names = ("source", "revision", "seed")
    tests = {
        (run.settings.limit_per_class, *(run.record[name] for name in names)) for _, run in runs
    }
    if len(tests) == 1:
        return "<p>All runs were evaluated on the same test images.</p>"
    return (
        '<p class="warning">The runs were evaluated on different test images. That alone can make '
        "a difference.</p>"
    )


def _settings(run: Run) -> list[str]:
    settings, result = run.settings, run.record["result"]
    return [
        f"{run.accuracy:.1%}",
        escape(result["weights"]),
        f"{settings.image_size}",
        settings.unfreeze or "",
        settings.head.name,
        f"{result['head_parameters']:,}",
        duration(result["seconds"]),
    ]


def _phases(runs: list[tuple[str, Run]]) -> str:
    parts = []
    for phase, title in PHASES.items():
        bars = [
            interval_bar(name, found["accuracy"], found["interval"])
            for name, run in runs
            if (found := run.report["stages"].get(phase))
        ]
        if bars:
            parts.append(f'<h4>{title}</h4><ul class="steps">{"".join(bars)}</ul>')
    return "".join(parts)


def _classes(runs: list[tuple[str, Run]]) -> str:
    """Recall of the classes that all runs know, the largest differences first."""
    recalls = [{c["label"]: c["recall"] for c in run.report["classes"]} for _, run in runs]
    common = [label for label in recalls[0] if all(label in recall for recall in recalls)]
    if not common:
        return "<p>The runs have no class in common.</p>"
    rows = {label: [recall[label] for recall in recalls] for label in common}
    order = sorted(common, key=lambda label: min(rows[label]) - max(rows[label]))
    cells = [[escape(label), *_recalls(rows[label])] for label in order[:CLASSES_SHOWN]]
    shown = table(["class", *(escape(name) for name, _ in runs)], cells)
    left = len(order) - CLASSES_SHOWN
    note = f"<p>{left} more classes differ less.</p>" if left > 0 else ""
    return scrolling(shown, "Recall by class") + note


def _recalls(recalls: list[float]) -> list[str]:
    """Percent, and the difference from the first run in percentage points."""
    first, *others = (round(100 * recall) for recall in recalls)
    return [f"{first}%", *(f"{other}%{_difference(other - first)}" for other in others)]


def _difference(points: int) -> str:
    kind = "better" if points > 0 else "worse"
    return f' <span class="{kind}">{points:+d}</span>' if points else ""
