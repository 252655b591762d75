"""What the Hub is told of a model at the head of its card: searchable, and checked by the Hub."""

from typing import TYPE_CHECKING

from transfer.publishing.card.escape import as_line
from transfer.publishing.card.license import License, hub_set, is_digits
from transfer.runs.run import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from transfer.publishing.bundle import Bundle

TASK = "image-classification"
TAGS = (TASK, "vgg", "transfer-learning")
# the Hub takes a library from these tags and shows how to load the model with it
LOADS_IN_FULL = ("timm", "transformers")


def card_metadata(bundle: "Bundle", repository: str, terms: License) -> dict:
    """A head alone names no library: none but this project can load it."""
    from huggingface_hub import ModelCardData

    run, full = bundle.run, bundle.what == "full"
    data = ModelCardData(
        **terms.metadata,
        library_name="timm" if full else None,
        pipeline_tag=TASK,
        tags=[*TAGS, *(LOADS_IN_FULL if full else ())],
        metrics=["accuracy"] if run else None,
        base_model=base_model(run) if run else None,
        datasets=[hub_set(run)] if run and hub_set(run) else None,
        model_name=repository.rpartition("/")[2] if run else None,
        eval_results=[_result(run)] if run else None,
    )
    return data.to_dict()


def base_model(run: Run) -> str | None:
    """The Hub's id of the model whose body this one began with."""
    if run.record["body"]["weights"] != "hub":
        return None
    return run.record["body"].get("repository") or f"timm/{run.settings.architecture}.tv_in1k"


def _result(run: Run) -> "EvalResult":
    from huggingface_hub import EvalResult

    name, kind = _data_set(run)
    return EvalResult(
        task_type=TASK,
        dataset_type=kind,
        dataset_name=name,
        dataset_config=run.settings.config,
        dataset_split="test",
        dataset_revision=run.record.get("revision") if hub_set(run) or is_digits(run) else None,
        dataset_args=_args(run),
        metric_type="accuracy",
        metric_value=round(run.accuracy, 4),
    )


def _args(run: Run) -> dict | None:
    """How the test images were drawn, where not all of them were taken."""
    limit = run.settings.limit_per_class
    return {"limit_per_class": limit, "seed": run.settings.seed} if limit else None


def _data_set(run: Run) -> tuple[str, str]:
    """(its name for people, its name for programs)"""
    if is_digits(run):
        return "handwritten digits of scikit-learn", "digits"
    if name := hub_set(run):
        return name, name
    return own_name(run), "imagefolder"


def own_name(run: Run) -> str:
    """The bare name of a folder or zip, whatever path it was opened by."""
    source = str(run.record.get("source") or "").replace("\\", "/").rstrip("/")
    return as_line(source.rpartition("/")[2]) if source else "own images"
