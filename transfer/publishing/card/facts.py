"""Values for the card's template that need more than a line of it."""

from typing import TYPE_CHECKING

from transfer.publishing.card.escape import as_text, listed
from transfer.publishing.card.license import License, hub_dataset, is_digits
from transfer.publishing.card.metadata import base_model, own_name
from transfer.runs.run import Run

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

CLASSES_SHOWN = 200
CONFUSIONS_SHOWN = 10
SURE = 0.9  # the score of a confident mistake
BODY_MB = {"vgg11": 37, "vgg13": 38, "vgg16": 59, "vgg19": 80}  # in float32


def card_facts(bundle: "Bundle", repository: str, terms: License, pictures: frozenset[str]) -> dict:
    """What template.md uses; values that are not escaped there are Markdown already."""
    facts = {
        "repository": repository,
        "run": bundle.run,
        "full": bundle.what == "full",
        "classes": bundle.classes,
        "class_names": listed(bundle.classes),
        "size": f"{max(bundle.bytes, 1e4) / 1e6:,.2f} MB".replace(".00", ""),
        "pictures": pictures,
        "license": terms.text,
    }
    return facts | (_run_facts(bundle.run) if bundle.run else {})


def _run_facts(run: Run) -> dict:
    record, report = run.record, run.report
    mistakes, wrong = report["mistakes"], round((1 - run.accuracy) * report["images"])
    confident = sum(mistake["score"] >= SURE for mistake in mistakes)
    # the report lists only some mistakes: if all of those are confident, there may be more
    at_least = "at least " if confident == len(mistakes) < wrong else ""
    return {
        "report": report,
        "settings": run.settings,
        "result": record["result"],
        "body": record["body"],
        "phases": {phase["name"]: phase for phase in record["phases"]},
        "architecture": run.settings.architecture.upper(),
        "body_mb": BODY_MB[run.settings.architecture],
        "base_model": base_model(run),
        "source": source_link(run),
        "class_rows": _class_rows(report["classes"]),
        "confused": _confused(run),
        "wrong": wrong,
        "sure": f"{at_least}{confident or 'none'}",
        "moved": _moved(report),
        "versions": ", ".join(f"{as_text(k)} {as_text(v)}" for k, v in record["versions"].items()),
    }


def source_link(run: Run) -> str:
    """Where the images come from, as Markdown."""
    if is_digits(run):
        return "scikit-learn's handwritten digits"
    if name := hub_dataset(run):
        return f"[{as_text(name)}](https://huggingface.co/datasets/{name})"
    return f"the publisher's own images (“{as_text(own_name(run))}”)"


def _class_rows(classes: list[dict]) -> list[tuple[int, dict]]:
    """(number, class) of all classes, or of the weakest if there are too many."""
    rows = list(enumerate(classes, 1))
    if len(rows) > CLASSES_SHOWN:
        rows.sort(key=lambda row: (row[1]["f1"], -row[1]["support"]))
    return rows[:CLASSES_SHOWN]


def _confused(run: Run) -> list[tuple[int, str, str]]:
    """(count, true class, predicted class) of the most frequent confusions."""
    found = [
        (count, run.classes[truth], run.classes[predicted])
        for truth, row in enumerate(run.report["confusion"])
        if sum(row) > row[truth]
        for predicted, count in enumerate(row)
        if count and truth != predicted
    ]
    return sorted(found, key=lambda pair: -pair[0])[:CONFUSIONS_SHOWN]


def _moved(report: dict) -> str:
    """Relative distance of each block between the start of fine-tune and the kept epoch."""
    curve = report.get("curves", {}).get("fine-tune", [])
    kept = [epoch for epoch in curve if epoch.get("best")]
    drift = kept[-1].get("drift") or {} if kept else {}
    moved = ", ".join(f"{name} {far:.2%}".replace("%", " %") for name, far in drift.items() if far)
    nothing = "nothing: no epoch of fine-tune was better, so the result of warm-up was kept"
    return moved or (nothing if kept else "")
