"""Two or more runs side by side: settings, accuracy after each phase and recall by class."""

from html import escape

from transfer.data.labels import class_name
from transfer.formatting import accuracy_text, duration
from transfer.runs.run import Run
from transfer.ui.shared.components import PHASE_TITLES, warning
from transfer.ui.shared.tables import interval_bars, scrolling, table

FEWEST, MOST = 2, 6  # runs in one comparison
CLASSES_SHOWN = 20
SETTINGS = {
    "accuracy": lambda run: accuracy_text(run.accuracy, run.report["images"]),
    "body": lambda run: escape(run.record["result"]["weights"]),
    "pixels": lambda run: str(run.settings.image_size),
    "unfrozen": lambda run: run.settings.unfreeze or "",
    "head": lambda run: run.settings.head.name,
    "parameters": lambda run: f"{run.record['result']['head_parameters']:,}",
    "time": lambda run: duration(run.record["result"]["seconds"]),
}


def comparison(runs: list[tuple[str, Run]]) -> str:
    """`runs` are (name, run); differences are relative to the first one."""
    rows = [[escape(name), *(show(run) for show in SETTINGS.values())] for name, run in runs]
    settings = table(["run", *SETTINGS], rows)
    return (
        f'<div class="report"><h2 tabindex="-1">Comparison</h2>{_test_images(runs)}'
        f"{scrolling(settings, 'Settings of the runs')}"
        f"<h3>Accuracy after each phase</h3>{_phases(runs)}<h3>Recall by class</h3>"
        f"{_classes(runs)}</div>"
    )


def _test_images(runs: list[tuple[str, Run]]) -> str:
    """Whether all runs have the same test images, which these values determine."""
    names = ("source", "revision", "seed")
    tests = {(run.settings.limit_per_class, *map(run.record.get, names)) for _, run in runs}
    if len(tests) == 1:
        return "<p>All runs were evaluated on the same test images.</p>"
    return warning(
        "The runs were evaluated on different test images. That alone can make a difference."
    )


def _phases(runs: list[tuple[str, Run]]) -> str:
    parts = []
    for phase, title in PHASE_TITLES.items():
        judged = [(name, run.report["stages"].get(phase)) for name, run in runs]
        if known := [each for each in judged if each[1]]:
            parts.append(f"<h4>{title}</h4>{interval_bars(known)}")
    return "".join(parts)


def _classes(runs: list[tuple[str, Run]]) -> str:
    """Recall of the classes that all runs know, the largest differences first."""
    recalls = [
        {class_name(c["label"]): c["recall"] for c in run.report["classes"]} for _, run in runs
    ]
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
