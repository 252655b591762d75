"""What a card says: the values of its template, and the metadata by which the Hub searches."""

from typing import TYPE_CHECKING

from transfer.machine.environment import space_id
from transfer.publishing.card.escape import as_text, listed, percent
from transfer.publishing.card.license import License, hub_dataset, is_digits, own_name, source_link
from transfer.publishing.redact import base_model
from transfer.publishing.sizes import BODY_NUMBERS, FLOAT_BYTES
from transfer.runs.run import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from transfer.publishing.bundle import Bundle

CLASSES_SHOWN = 200
CONFUSIONS_SHOWN = 10
TASK = "image-classification"
TAGS = (TASK, "vgg", "transfer-learning")
# The Hub takes the library from these tags and shows how to load the model with it.
LIBRARY_TAGS = ("timm", "transformers")
LICENSE_KEYS = ("license", "license_name", "license_link")
OTHER_KEYS = (
    "library_name pipeline_tag tags metrics base_model base_model_relation datasets model-index "
    "models"
).split()
EXAMPLE_ADDRESS = "/resolve/main/example-"
SURE = 0.9  # the score of a confident mistake
FEW = 500  # test images, of which a card counts those that are right


def card_facts(bundle: "Bundle", repository: str, terms: License) -> dict:
    """What template.md uses; values that are not escaped there are Markdown already."""
    facts = {
        "repository": repository,
        "run": bundle.run,
        "full": bundle.what == "full",
        "classes": bundle.classes,
        "class_names": listed(bundle.classes),
        "size": f"{max(sum(bundle.files.values()), 1e4) / 1e6:,.2f} MB".replace(".00", ""),
        "license": terms.text,
        "space": space_id(),
    }
    return facts | (_run_facts(bundle.run) if bundle.run else {})


def _run_facts(run: Run) -> dict:
    record, report = run.record, run.report
    mistakes, wrong = report["mistakes"], round((1 - run.accuracy) * report["images"])
    confident = sum(mistake["score"] >= SURE for mistake in mistakes)
    # the report lists only some mistakes: if all of those are confident, there may be more
    at_least = "at least " if confident == len(mistakes) < wrong else ""
    return {
        "phases": {phase["name"]: phase for phase in record["phases"]},
        "body_mb": round(FLOAT_BYTES * BODY_NUMBERS[run.settings.architecture] / 1e6),
        "base_model": base_model(run),
        "source": source_link(run),
        "class_rows": _class_rows(report["classes"]),
        "confused": [
            (n, run.classes[i], run.classes[j]) for n, i, j in run.confusions[:CONFUSIONS_SHOWN]
        ],
        "wrong": wrong,
        "few": FEW,
        "sure": f"{at_least}{confident or 'none'}",
        "moved": _moved(report),
        "versions": ", ".join(f"{as_text(k)} {as_text(v)}" for k, v in record["versions"].items()),
    }


def _class_rows(classes: list[dict]) -> list[tuple[int, dict]]:
    """(number, class) of all classes, or of the weakest if there are too many."""
    rows = list(enumerate(classes, 1))
    if len(rows) > CLASSES_SHOWN:
        rows.sort(key=lambda row: (row[1]["f1"], -row[1]["support"]))
    return rows[:CLASSES_SHOWN]


def _moved(report: dict) -> str:
    """Relative distance of each block between the start of fine-tune and the saved epoch."""
    curve = report.get("curves", {}).get("fine-tune", [])
    saved = [epoch for epoch in curve if epoch.get("best")]
    if not saved:
        return ""
    drift = saved[-1].get("drift") or {}
    moved = ", ".join(f"{name} {percent(far, 2)}" for name, far in drift.items() if far)
    return (
        moved
        or "nothing: no epoch of fine-tune was better, so the result of warm-up is what was saved"
    )


def card_metadata(
    bundle: "Bundle", repository: str, terms: License, widget: list[dict] | None = None
) -> dict:
    """A head alone names no library: only this package can load it."""
    from huggingface_hub import ModelCardData

    run, full = bundle.run, bundle.what == "full"
    base = base_model(run) if run else None
    data = ModelCardData(
        **terms.metadata,
        library_name="timm" if full else None,
        pipeline_tag=TASK,
        tags=[*TAGS, *(LIBRARY_TAGS if full else ())],
        metrics=["accuracy"] if run else None,
        base_model=base,
        base_model_relation=("finetune" if full else "adapter") if base else None,
        datasets=[hub_dataset(run)] if run and hub_dataset(run) else None,
        model_name=repository.rpartition("/")[2] if run else None,
        eval_results=[_result(run)] if run else None,
        widget=widget or None,
    )
    return data.to_dict()


def page_metadata(
    bundle: "Bundle", repository: str, terms: License, old: dict, linked: bool
) -> dict:
    """Of a static Space. A person may change its looks; the headers let ONNX Runtime use several
    threads."""
    looks = {
        "title": repository.rpartition("/")[2],
        "emoji": "📷",
        "colorFrom": "blue",
        "colorTo": "gray",
        "pinned": False,
        "short_description": f"Sorts photos into {len(bundle.classes)} classes in the browser",
    }
    headers = ("embedder-policy", "require-corp"), ("opener-policy", "same-origin")
    return {
        **looks,
        **{key: old[key] for key in looks if key in old},
        **terms.metadata,
        "sdk": "static",
        "app_file": "index.html",
        "thumbnail": f"https://huggingface.co/spaces/{repository}/resolve/main/thumbnail.png",
        "tags": list(TAGS),
        "custom_headers": {f"cross-origin-{name}": value for name, value in headers},
        **({"models": [repository]} if linked else {}),
    }


def merge_metadata(old: dict, new: dict, generated_before: bool) -> dict:
    """The generated keys, and the keys, tags and examples that a person added.

    A key that is not generated any more goes, but only if the old card was generated by us.
    """
    ours = (*LICENSE_KEYS, *OTHER_KEYS) if generated_before else ()
    tags = old.get("tags") or []
    tags = tags if isinstance(tags, list) else [tags]
    added = [tag for tag in tags if tag not in (*TAGS, *LIBRARY_TAGS)]
    kept = {key: value for key, value in old.items() if key not in ours}
    widget = [*_persons(kept.pop("widget", None)), *new.get("widget", [])]
    examples = {"widget": widget} if widget else {}
    return kept | new | {"tags": [*new["tags"], *added]} | examples


def _persons(widget) -> list:
    """The examples of a card that a person added."""
    examples = widget if isinstance(widget, list) else []
    return [
        example
        for example in examples
        if not (isinstance(example, dict) and EXAMPLE_ADDRESS in str(example.get("src")))
    ]


def _result(run: Run) -> "EvalResult":
    from huggingface_hub import EvalResult

    settings, name = run.settings, hub_dataset(run)
    if is_digits(run):
        title, kind = "handwritten digits of scikit-learn", "digits"
    else:
        title, kind = (name, name) if name else (own_name(run), "imagefolder")
    limit = settings.limit_per_class  # says how the test images were drawn, if not all were used
    return EvalResult(
        task_type=TASK,
        dataset_type=kind,
        dataset_name=title,
        dataset_config=settings.config,
        dataset_split="test",
        dataset_revision=run.record.get("revision") if name or is_digits(run) else None,
        dataset_args={"limit_per_class": limit, "seed": settings.seed} if limit else None,
        metric_type="accuracy",
        metric_value=round(run.accuracy, 4),
    )
