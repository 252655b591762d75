"""How a model was trained: enough to do it again, and to see how far it went."""

from collections.abc import Collection

from transfer.publishing.card.escape import as_text, counted
from transfer.publishing.card.metadata import base_model
from transfer.runs.run import Run

METHODS = {
    "finetune": "fine-tuning: warm-up of a new head on the frozen body, then the upper blocks too",
    "features": "feature extraction: a logistic regression on the frozen body's features",
}
BODIES = {
    "bundled": "the one that comes with the package, trained on Tiny-ImageNet",
    "random": "random numbers (He initialisation)",
}


def training_section(run: Run | None, pictures: Collection[str]) -> str:
    """A table of everything that was set, and the curves."""
    if run is None:
        return "## Training\n\nThis folder came without a run, so nothing is known of it."
    facts = _facts(run)
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {told} |" for name, told in facts)])
    parts = ["## Training", table]
    if "curves.png" in pictures:
        parts.append("![Accuracy and loss over the epochs of both phases](curves.png)")
        parts.append(
            "A ring marks the state that was kept: each phase begins with the best of the one "
            "before, by the loss on the validation images."
        )
    return "\n\n".join(parts)


def _facts(run: Run) -> list[tuple[str, str]]:
    settings = run.settings
    phases = {phase["name"]: phase for phase in run.record["phases"]}
    facts = [("method", METHODS[settings.method]), ("body", _body(run)), ("head", _head(run))]
    facts.append(("images", _images(run)))
    size = f"{run.transform.image_size} × {run.transform.image_size} px, squashed"
    facts.append(("input", f"{size}, ImageNet's mean and deviation"))
    for name, phase in (("warm-up", settings.warm_up), ("fine-tune", settings.fine_tune)):
        if name in phases:
            facts.append((name, _phase(phases[name], phase)))
    if "fine-tune" in phases:
        facts.append(("learned in fine-tune", _unfrozen(settings.unfreeze)))
    if moved := _moved(run):
        facts.append(("weights moved by", moved))
    facts += [("seed", str(run.record["seed"])), ("time", _time(run)), ("versions", _versions(run))]
    return facts


def _body(run: Run) -> str:
    body = run.record["body"]
    if name := base_model(run):
        revision = str(body.get("revision") or "")[:12]
        at = f" at `{as_text(revision)}`" if revision else ""
        return f"[{name}](https://huggingface.co/{name}){at}, ImageNet's"
    return BODIES.get(body["weights"]) or f"from {as_text(body['weights'])}"


def _head(run: Run) -> str:
    result, head = run.record["result"], run.settings.head
    tried = len(run.report.get("heads", []))
    chosen = f", chosen among {tried} that were tried" if tried > 1 else ""
    original = f"{result['original_head_parameters'] / 1e6:.1f} million"
    return (
        f"{head.name}, dropout {head.dropout:g}{chosen}: {result['head_parameters']:,} parameters "
        f"in place of {run.settings.architecture.upper()}'s own {original}"
    )


def _images(run: Run) -> str:
    images, settings = run.record["result"]["images"], run.settings
    told = (
        f"{images['train']:,} for training, {images['validation']:,} for validation, "
        f"{images['test']:,} for the test"
    )
    if settings.limit_per_class:
        told += f", at most {counted(settings.limit_per_class, 'image')} a class"
    if images["skipped"]:
        told += f"; {images['skipped']:,} skipped"
    if settings.views and settings.views > 1:
        told += f"; {settings.views} augmented views each"
    return told + ("; classes weighed by their size" if settings.class_weights else "")


def _phase(done: dict, phase) -> str:
    return (
        f"{counted(done['epochs'], 'epoch')}, epoch {done['best_epoch']} kept; "
        f"{as_text(phase.optimizer)}, learning rate {phase.learning_rate:g}, weight decay "
        f"{phase.weight_decay:g}, batches of {phase.batch_size}; {done['seconds']:.2g} s"
    )


def _unfrozen(block: str) -> str:
    return "all of the body and the head" if block == "block1" else f"{block} and up, and the head"


def _moved(run: Run) -> str:
    """How far the kept state of the last phase lies from where that phase began."""
    kept = [
        epoch
        for name, curve in run.report.get("curves", {}).items()
        if name == "fine-tune"
        for epoch in curve
        if epoch.get("best")
    ]
    if not kept:
        return ""
    drift = kept[-1].get("drift") or {}
    if not any(drift.values()):
        return "nothing: no epoch of fine-tune was better, so warm-up's state was kept"
    return ", ".join(f"{name} {far:.2%}".replace("%", " %") for name, far in drift.items() if far)


def _time(run: Run) -> str:
    result = run.record["result"]
    peak = result.get("peak_rss_bytes")
    memory = f", {peak / 1e9:.1f} GB of memory at most" if peak else ""
    return f"{result['seconds']:.0f} s in all{memory}"


def _versions(run: Run) -> str:
    return ", ".join(f"{as_text(n)} {as_text(v)}" for n, v in run.record["versions"].items())
