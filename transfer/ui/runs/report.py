"""A finished run as HTML: accuracy after each phase, figures by class and the confusion matrix."""

from html import escape

from transfer.formatting import accuracy_text, block_probes, counted, interval_text, isolated
from transfer.jobs import ListedRun
from transfer.runs.run import Run
from transfer.ui.runs.confusion import confusion
from transfer.ui.runs.reliability import reliability
from transfer.ui.runs.use import use_it
from transfer.ui.shared.components import PHASE_TITLES
from transfer.ui.shared.tables import bar, cells, interval_bars, scrolling, table

CLASSES_SHOWN = 20  # bars; more would push the rest of the report out of sight
# title: (key in report.json, how its values are formatted)
HEAD_COLUMNS = {
    "head": ("head", ""),
    "dropout": ("dropout", "g"),
    "optimizer": ("optimizer", ""),
    "rate": ("learning_rate", "g"),
    "parameters": ("parameters", ","),
    "loss": ("validation_loss", ".3f"),
    "accuracy": ("validation_accuracy", ".1%"),
}
CLASS_COLUMNS = {
    "class": ("label", ""),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "F1": ("f1", ".2f"),
    "images": ("support", ""),
}


def report(run: Run, name: str, before: tuple[ListedRun, Run] | None = None) -> str:
    """What the evaluation found, the most important figures first; `before` is from before the
    corrections of the run's labels."""
    heading = f'<h2 tabindex="-1">Report of {escape(isolated(name))}</h2>'
    compared = _before_and_after(run, *before) if before else ""
    sections = (_phases, reliability, _sizes, _heads, _classes, confusion, use_it)
    shown = "".join(section(run) for section in sections)
    return f'<div class="report">{heading}{compared}{shown}</div>'


def _before_and_after(run: Run, listed: ListedRun, before: Run) -> str:
    left_out = sum(one.leave_out for one in run.settings.corrections)
    relabelled = len(run.settings.corrections) - left_out
    bars = [("Before", before.report), ("With corrections", run.report)]
    return (
        f"<h3>Before and after the corrections, on the same {run.report['images']} test images</h3>"
        f"{interval_bars(bars)}<p>{_were(relabelled, 'label')} changed, {_were(left_out, 'photo')} "
        f"left out. “Before” is the run {escape(isolated(listed.name))}.</p>"
    )


def _were(number: int, word: str) -> str:
    return f"{counted(number, word)} {'was' if number == 1 else 'were'}"


def _phases(run: Run) -> str:
    stages = [(PHASE_TITLES[name], phase) for name, phase in run.report["stages"].items()]
    return (
        f"<h3>Accuracy after each phase, on the same {run.report['images']} test images</h3>"
        f"{interval_bars(stages)}{_endings(run)}<p>The line at the end of a bar is the 95 % "
        "interval. Where two intervals overlap a lot, the difference may be chance. “Features "
        f"only” is logistic regression on the frozen body's features.</p>"
        f"{_cross_validation(run)}{_blocks(run)}{_balanced(run)}"
    )


def _endings(run: Run) -> str:
    """How each phase ended and what of it is saved: one may have been stopped or rejected."""
    trained = [each for each in run.record.get("phases", []) if each.get("epochs")]
    lines = "".join(f"<li>{escape(_ending(**each))}</li>" for each in trained if "ended" in each)
    return lines and f"<ul>{lines}</ul>"


def _ending(name: str, epochs: int, ended: str, best_epoch: int, share: float = 1.0, **_) -> str:
    part = "" if share == 1 else f"{share:.0%} of the way to "
    saved = f"{part}epoch {best_epoch} is saved" if best_epoch else "nothing of it is saved"
    return f"{name.capitalize()}: {counted(epochs, 'epoch')}, {ended}; {saved}."


def _cross_validation(run: Run) -> str:
    """The linear classifier, judged on more images than those of the test; older runs have none."""
    if not (found := run.report.get("cross_validation")):
        return ""
    images = found["images"]
    accuracy = accuracy_text(found["accuracy"], images)
    split = (
        "; fine-tune is judged on the split alone" if "fine-tune" in run.report["stages"] else ""
    )
    return (
        f"<p>Cross-validation of the linear classifier, {found['folds']} folds: "
        f"{accuracy} ({interval_text(*found['interval'], images)}) on {images:,} training and "
        f"validation images{split}.</p>"
    )


def _blocks(run: Run) -> str:
    """What the blocks' outputs were worth before fine-tune; older runs do not say."""
    if not (found := run.report.get("block_probes")):
        return ""
    text = block_probes(**found)
    return f"<p>{escape(text[:1].upper() + text[1:])}.</p>"


def _balanced(run: Run) -> str:
    """The same where every class counts equally; only where that makes a difference."""
    stages, key = run.report["stages"].items(), "balanced_accuracy"
    shares = {PHASE_TITLES[name]: phase[key] for name, phase in stages if key in phase}
    if not run.report.get("uneven") or not shares:
        return ""
    rows = "".join(bar(title, share, f"<b>{share:.1%}</b>") for title, share in shares.items())
    return (
        f'<h3>Balanced accuracy after each phase</h3><ul class="steps">{rows}</ul><p>The mean of '
        "the recalls of the classes, which differ in size here: a small class counts as much as a "
        "large one.</p>"
    )


def _sizes(run: Run) -> str:
    result = run.record["result"]
    skipped = result["images"]["skipped"]
    note = f" {skipped} images or files were skipped." if skipped else ""
    return (
        f"<p>Body: {escape(result['weights'])} ({escape(result['weights_reason'])}). The new head "
        f"has {result['head_parameters']:,} parameters; VGG16's original head has "
        f"{result['original_head_parameters']:,}.{note}</p>"
    )


def _heads(run: Run) -> str:
    """The heads of the head search, best first; the chosen one in bold."""
    heads = sorted(run.report.get("heads", []), key=lambda head: head["validation_loss"])
    if not heads:
        return ""
    chosen = [i for i, head in enumerate(heads) if head["chosen"]]
    return (
        f"<details><summary>Head search: {len(heads)} heads, compared on the validation set"
        f"</summary>{table(HEAD_COLUMNS, cells(HEAD_COLUMNS, heads), bold=chosen)}<p>The head in "
        "bold was chosen. A new candidate replaces the best so far only if its loss is lower by "
        "more than chance.</p></details>"
    )


def _classes(run: Run) -> str:
    """A bar of recall for each class, or for the hardest ones; all figures in a table."""
    classes = run.report["classes"]
    title, shown = "Recall by class", classes
    if len(classes) > CLASSES_SHOWN:
        title = f"Recall of the {CLASSES_SHOWN} hardest classes"
        shown = sorted(classes, key=lambda c: c["recall"])[:CLASSES_SHOWN]
    figures = scrolling(table(CLASS_COLUMNS, cells(CLASS_COLUMNS, classes)), "Figures by class")
    return (
        f'<h3>{title}</h3><ul class="steps">{"".join(map(_recall, shown))}</ul><details><summary>'
        f"Precision, recall and F1 of all classes</summary>{figures}</details>"
    )


def _recall(c: dict) -> str:
    found = round(c["recall"] * c["support"])
    return bar(c["label"], c["recall"], f"<b>{c['recall']:.0%}</b> {found} of {c['support']}")
