"""A finished run as HTML: what each step bought, per-class figures, confusion and mistakes."""

from html import escape

from transfer.runs.run import Run
from transfer.ui.runs.confusion import confusion

STAGE_NAMES = {
    "features": "body features only (logistic regression)",
    "warm-up": "after warm-up",
    "fine-tune": "after fine-tune",
}
MISTAKES_SHOWN = 12
CLASSES_SHOWN = 20


def report(run: Run, name: str = "") -> str:
    """Everything that evaluation said of the run, biggest question first."""
    title = f"<h2>{escape(name)}</h2>" if name else ""
    parts = (_stages, _sizes, _heads, _classes, _confusion)
    return f'<div class="report">{title}{"".join(part(run) for part in parts)}</div>'


def _stages(run: Run) -> str:
    images = run.report["images"]
    rows = "".join(
        interval_bar(STAGE_NAMES[name], stage["accuracy"], stage["interval"])
        for name, stage in run.report["stages"].items()
    )
    return (
        f"<h3>What each step bought, on the same {images} test images</h3>"
        f'<ul class="steps">{rows}</ul><p>The line through the end of a bar is the 95 % interval: '
        "where two of them overlap by much, chance may have made the difference.</p>"
    )


def interval_bar(name: str, accuracy: float, interval: list[float]) -> str:
    """One accuracy with its 95 % interval, as a bar and in words."""
    low, high = interval
    return (
        f'<li><span class="name">{escape(name)}</span><span class="bar" aria-hidden="true">'
        f'<i style="width:{100 * accuracy:.1f}%"></i>'
        f'<u style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></u></span>'
        f'<span class="n"><b>{accuracy:.1%}</b> {low:.1%} to {high:.1%}</span></li>'
    )


def _sizes(run: Run) -> str:
    result = run.record["result"]
    skipped = result["images"]["skipped"]
    told = f" {skipped} images or files were skipped." if skipped else ""
    return (
        f"<p>Body: {escape(result['weights'])} ({escape(result['weights_reason'])}). The new head "
        f"has {result['head_parameters']:,} parameters, VGG16's own had "
        f"{result['original_head_parameters']:,}.{told}</p>"
    )


def _heads(run: Run) -> str:
    """The heads that were tried, best first; the chosen one stands out."""
    tried = sorted(run.report.get("heads", []), key=lambda row: row["validation_loss"])
    if not tried:
        return ""
    rows = "".join(
        f"<tr{' class=chosen' if row['chosen'] else ''}><td>{escape(row['head'])}</td>"
        f"<td>{row['dropout']:g}</td><td>{escape(row['optimizer'])}</td>"
        f"<td>{row['learning_rate']:g}</td><td>{row['parameters']:,}</td>"
        f"<td>{row['validation_loss']:.3f}</td><td>{row['validation_accuracy']:.1%}</td></tr>"
        for row in tried
    )
    names = ("head", "dropout", "optimizer", "rate", "parameters", "loss", "accuracy")
    head = "".join(f"<th>{name}</th>" for name in names)
    return (
        f"<details><summary>The {len(tried)} heads that were tried, judged on validation"
        f"</summary><table><tr>{head}</tr>{rows}</table><p>The one in bold was taken: another "
        "takes its place only where its loss is lower by more than chance.</p></details>"
    )


def _classes(run: Run) -> str:
    """Bars of recall, of many classes the hardest; all figures in a table."""
    classes = run.report["classes"]
    hardest = sorted(classes, key=lambda c: c["recall"])[:CLASSES_SHOWN]
    shown = classes if len(classes) <= CLASSES_SHOWN else hardest
    title = "Each class" if shown is classes else f"The {CLASSES_SHOWN} hardest classes"
    rows = "".join(_class_bar(c) for c in shown)
    return (
        f"<h3>{title}: how many of its test images are found</h3>"
        f'<ul class="steps">{rows}</ul>{_class_table(classes)}'
    )


def _class_bar(c: dict) -> str:
    found = round(c["recall"] * c["support"])
    return (
        f'<li><span class="name" title="{escape(c["label"])}">{escape(c["label"])}</span>'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * c["recall"]:.1f}%"></i>'
        f'</span><span class="n"><b>{c["recall"]:.0%}</b> {found} of {c["support"]}</span></li>'
    )


def _class_table(classes: list[dict]) -> str:
    rows = "".join(
        f"<tr><td>{escape(c['label'])}</td><td>{c['precision']:.2f}</td><td>{c['recall']:.2f}</td>"
        f"<td>{c['f1']:.2f}</td><td>{c['support']}</td></tr>"
        for c in classes
    )
    head = "<tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>images</th></tr>"
    table = f"<table>{head}{rows}</table>"
    return f"<details><summary>Precision, recall and F1 of all</summary>{table}</details>"


def _confusion(run: Run) -> str:
    return f"<h3>What was taken for what</h3>{confusion(run)}"


def mistake_names(run: Run) -> str:
    """The most confident mistakes by name, where their pictures cannot be shown."""
    rows = "".join(
        f"<li><b>{escape(m['name'])}</b>: {escape(m['label'])}, taken for "
        f"{escape(m['predicted'])} ({m['score']:.0%} sure)</li>"
        for m in run.report["mistakes"][:MISTAKES_SHOWN]
    )
    return f"<ol>{rows}</ol>" if rows else "<p>No mistakes on the test images.</p>"
