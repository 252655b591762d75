"""A finished run as HTML: what each step bought, per-class figures, confusion and mistakes."""

from html import escape

from transfer.run_folder import Run

STAGE_NAMES = {
    "features": "body features only (logistic regression)",
    "warm-up": "after warm-up",
    "fine-tune": "after fine-tune",
}
MISTAKES_SHOWN = 12
CONFUSION_AT_MOST = 20


def report(run: Run) -> str:
    """Everything that evaluation said of the run, biggest question first."""
    parts = (_stages, _sizes, _heads, _classes, _mistakes)
    return f'<div class="report">{"".join(part(run) for part in parts)}</div>'


def _stages(run: Run) -> str:
    images = run.report["images"]
    rows = "".join(
        f"<tr><td>{STAGE_NAMES[name]}</td><td>{stage['accuracy']:.1%}</td>"
        f"<td>{stage['interval'][0]:.1%} to {stage['interval'][1]:.1%}</td></tr>"
        for name, stage in run.report["stages"].items()
    )
    return (
        f"<h3>What each step bought, on the same {images} test images</h3><table><tr><th>step</th>"
        f"<th>accuracy</th><th>95 % interval</th></tr>{rows}</table>"
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
    rows = "".join(
        f"<tr><td>{escape(c['label'])}</td><td>{c['precision']:.2f}</td><td>{c['recall']:.2f}</td>"
        f"<td>{c['f1']:.2f}</td><td>{c['support']}</td></tr>"
        for c in run.report["classes"]
    )
    head = "<tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>images</th></tr>"
    figures = f"<table>{head}{rows}</table>"
    return f"<details><summary>Each class</summary>{figures}</details>{_confusion(run)}"


def _confusion(run: Run) -> str:
    if len(run.classes) > CONFUSION_AT_MOST:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in run.classes)
    rows = ""
    for name, counts in zip(run.classes, run.report["confusion"], strict=True):
        total = sum(counts) or 1
        cells = "".join(f'<td style="--share:{n / total:.2f}">{n}</td>' for n in counts)
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    table = f'<table class="confusion"><tr><th>truth ↓ answer →</th>{head}</tr>{rows}</table>'
    return f"<details><summary>What was taken for what</summary>{table}</details>"


def _mistakes(run: Run) -> str:
    rows = "".join(
        f"<li><b>{escape(m['name'])}</b>: {escape(m['label'])}, taken for "
        f"{escape(m['predicted'])} ({m['score']:.0%} sure)</li>"
        for m in run.report["mistakes"][:MISTAKES_SHOWN]
    )
    if not rows:
        return "<p>No mistakes on the test images.</p>"
    return f"<details><summary>The most confident mistakes</summary><ol>{rows}</ol></details>"
