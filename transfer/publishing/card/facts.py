"""What the card's template says about a run: rows of its tables, sizes, how it was trained."""

from typing import TYPE_CHECKING

from transfer.publishing.card.escape import as_text, counted, listed
from transfer.publishing.card.license import License, hub_dataset, is_digits
from transfer.publishing.card.metadata import base_model, own_name
from transfer.runs.run import Run

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle
    from transfer.settings import PhaseSettings

STEPS = {
    "features": "logistic regression on the features of the frozen body",
    "warm-up": "after warm-up",
    "fine-tune": "after fine-tuning",
}
METHODS = {
    "finetune": "fine-tuning: warm-up of a new head on the frozen body, then the upper blocks too",
    "features": "feature extraction: logistic regression on the features of the frozen body",
}
BODIES = {
    "bundled": "the one that comes with the package, trained on Tiny-ImageNet",
    "random": "random weights (He initialisation)",
}
OPEN_AT_MOST = 20  # classes; longer tables are folded
CLASSES_SHOWN = 200
CONFUSIONS_SHOWN = 10
SURE = 0.9
FEW_IMAGES = 500
BODY_MB = {"vgg11": 37, "vgg13": 38, "vgg16": 59, "vgg19": 80}  # in float32


def card_facts(bundle: "Bundle", repository: str, terms: License, pictures: frozenset[str]) -> dict:
    """Values for template.md; those that are not escaped there are Markdown already."""
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
    return facts | (_run_facts(bundle.run) if bundle.run else {"half": False, "rest": ""})


def _run_facts(run: Run) -> dict:
    report, confident = run.report, sum(m["score"] >= SURE for m in run.report["mistakes"])
    wrong = report["images"] - round(run.accuracy * report["images"])
    # the report lists only some mistakes: if all of those are confident, there may be more
    at_least = "at least " if confident == len(report["mistakes"]) < wrong else ""
    rows, title = _class_rows(report["classes"])
    return {
        "report": report,
        "architecture": run.settings.architecture.upper(),
        "source": source_link(run),
        "weights": run.record["body"]["weights"],
        "half": run.record.get("stored") == "float16",
        "rest": _rest(run),
        "steps": [(STEPS[name], s) for name, s in report["stages"].items() if name in STEPS],
        "class_rows": rows,
        "classes_title": title,
        "folded": len(report["classes"]) > OPEN_AT_MOST,
        "confused": _confused(run),
        "wrong": wrong,
        "sure": f"{at_least}{confident or 'none'}",
        "sure_score": SURE,
        "training": _training(run),
        "train_images": run.record["result"]["images"]["train"],
        "few": report["images"] < FEW_IMAGES,
    }


def source_link(run: Run) -> str:
    """Where the images come from, as Markdown."""
    if is_digits(run):
        return "scikit-learn's handwritten digits"
    if name := hub_dataset(run):
        return f"[{as_text(name)}](https://huggingface.co/datasets/{name})"
    return f"the publisher's own images (“{as_text(own_name(run))}”)"


def _rest(run: Run) -> str:
    if name := base_model(run):
        return (
            f"The rest is the body of [{name}](https://huggingface.co/{name}), of which "
            f"{BODY_MB[run.settings.architecture]} MB are downloaded once."
        )
    if run.record["body"]["weights"] == "bundled":
        return "The rest comes with the package."
    return "The package creates the rest from a random seed."


def _class_rows(classes: list[dict]) -> tuple[list[tuple[int, dict]], str]:
    """(number, class) of all classes, or of the weakest if there are too many; the title."""
    numbered = list(enumerate(classes, 1))
    if len(classes) <= CLASSES_SHOWN:
        return numbered, f"All {counted(len(classes), 'class')}"
    weakest = sorted(numbered, key=lambda row: (row[1]["f1"], -row[1]["support"]))[:CLASSES_SHOWN]
    title = f"The {CLASSES_SHOWN} weakest of {len(classes):,} classes; `report.json` has all"
    return weakest, title


def _confused(run: Run) -> list[tuple[int, str, str]]:
    """(count, true class, predicted class) of the most frequent confusions."""
    if len(run.classes) <= 2:
        return []
    found = [
        (count, run.classes[truth], run.classes[predicted])
        for truth, row in enumerate(run.report["confusion"])
        if sum(row) > row[truth]
        for predicted, count in enumerate(row)
        if count and truth != predicted
    ]
    return sorted(found, key=lambda pair: -pair[0])[:CONFUSIONS_SHOWN]


def _training(run: Run) -> list[tuple[str, str]]:
    """Rows of the table of everything that was set."""
    settings, result = run.settings, run.record["result"]
    phases = {phase["name"]: phase for phase in run.record["phases"]}
    size = run.transform.image_size
    rows = [
        ("method", METHODS[settings.method]),
        ("body", _body(run)),
        ("head", _head(run)),
        ("images", _images(run)),
        ("input", f"{size} × {size} px, resized without cropping, normalised as for ImageNet"),
    ]
    for name, phase in (("warm-up", settings.warm_up), ("fine-tune", settings.fine_tune)):
        if name in phases:
            rows.append((name, _phase(phases[name], phase)))
    if "fine-tune" in phases:
        block = settings.unfreeze
        unfrozen = "the entire body" if block == "block1" else f"{block} and everything above"
        rows.append(("unfrozen in fine-tune", unfrozen))
    if moved := _moved(run):
        rows.append(("weights moved by", moved))
    peak = result.get("peak_rss_bytes")
    memory = f", at most {peak / 1e9:.1f} GB of memory" if peak else ""
    versions = (f"{as_text(name)} {as_text(v)}" for name, v in run.record["versions"].items())
    return [
        *rows,
        ("seed", str(run.record["seed"])),
        ("time", f"{result['seconds']:.0f} s{memory}"),
        ("versions", ", ".join(versions)),
    ]


def _body(run: Run) -> str:
    body = run.record["body"]
    if name := base_model(run):
        revision = str(body.get("revision") or "")[:12]
        at = f" at `{as_text(revision)}`" if revision else ""
        return f"[{name}](https://huggingface.co/{name}){at}, trained on ImageNet"
    return BODIES.get(body["weights"]) or f"from {as_text(body['weights'])}"


def _head(run: Run) -> str:
    result, head = run.record["result"], run.settings.head
    tried = len(run.report.get("heads", []))
    chosen = f", the best of {tried} that were tried" if tried > 1 else ""
    original = f"{result['original_head_parameters'] / 1e6:.1f} million"
    return (
        f"{head.name}, dropout {head.dropout:g}{chosen}: {result['head_parameters']:,} parameters "
        f"instead of the {original} of {run.settings.architecture.upper()}'s own head"
    )


def _images(run: Run) -> str:
    images, settings = run.record["result"]["images"], run.settings
    parts = [
        f"{images['train']:,} for training",
        f"{images['validation']:,} for validation",
        f"{images['test']:,} for testing",
    ]
    if settings.limit_per_class:
        parts.append(f"at most {counted(settings.limit_per_class, 'image')} per class")
    if images["skipped"]:
        parts.append(f"{images['skipped']:,} skipped")
    if settings.views and settings.views > 1:
        parts.append(f"{settings.views} augmented views of each")
    if settings.class_weights:
        parts.append("classes weighted by their size")
    return ", ".join(parts)


def _phase(done: dict, phase: "PhaseSettings") -> str:
    return (
        f"{counted(done['epochs'], 'epoch')}, epoch {done['best_epoch']} kept; "
        f"{as_text(phase.optimizer)}, learning rate {phase.learning_rate:g}, weight decay "
        f"{phase.weight_decay:g}, batch size {phase.batch_size}; {done['seconds']:.2g} s"
    )


def _moved(run: Run) -> str:
    """Relative distance of each block between the start of fine-tune and the kept epoch."""
    curve = run.report.get("curves", {}).get("fine-tune", [])
    kept = [epoch for epoch in curve if epoch.get("best")]
    if not kept:
        return ""
    drift = kept[-1].get("drift") or {}
    if not any(drift.values()):
        return "nothing: no epoch of fine-tune was better, so the result of warm-up was kept"
    return ", ".join(f"{name} {far:.2%}".replace("%", " %") for name, far in drift.items() if far)
