"""The commands that use a trained classifier: `classify` and `evaluate`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfer.cli.options import (
    AsJson,
    Config,
    ImageColumn,
    LabelColumn,
    LimitPerClass,
    RunOrRepository,
    Source,
)
from transfer.cli.progress import Progress, suggest, warn
from transfer.data.file_names import is_image
from transfer.errors import ImageError, SettingsError, SourceError
from transfer.formatting import accuracy_text, encodable_parts, interval_text, printable, score_text
from transfer.inference.answer_table import Row, write_table

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer, Classifier

MISTAKES_PRINTED = 10
ACCURACY_LINE = "accuracy {} (95 % interval {}) on {:,} images"
BALANCED_LINE = "balanced accuracy {balanced_accuracy:.1%}, the mean recall of the classes"
CALIBRATION_LINE = "expected calibration error {error:.3f}"
SETS_LINE = "sets: {covered:.1%} hold the true class, {size:.2f} classes on average"
CLASS_LINE = (
    "{label}: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}, support {support}"
)
MISTAKE_LINE = "mistake: {name}: {label} predicted as {predicted} ({score})"


def classify(
    run: RunOrRepository,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files or folders.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to print.")] = 5,
    as_json: AsJson = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table instead.")] = None,
) -> None:
    """Classify pictures: one line a file, in order. Exits with 1 if a file cannot be read."""
    from transfer.inference.loading import load

    if as_json and csv_file:
        raise SettingsError("expected one of --json and --csv, found both; choose one")
    classifier = load(run)
    rows = _classified(classifier, paths, top)
    if csv_file:
        rows = write_table(csv_file, rows, min(top, len(classifier.classes)))
    failed = False
    for path, answer, error in rows:
        failed |= bool(error)
        if not csv_file:
            _print_row(path, answer, error, as_json)
    if failed:
        raise typer.Exit(1)


def _classified(classifier: "Classifier", paths: list[Path], top: int) -> Iterator[Row]:
    for path in _files(paths):
        try:
            yield path, classifier.answer(classifier.prepare(path), top), ""
        except ImageError as error:
            yield path, None, str(error)


def _files(paths: list[Path]) -> Iterator[Path]:
    """Files as they are; of a folder all images in it, by name. Raises SourceError."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if is_image(file.name) and file.is_file())
        if not found:
            raise SourceError(f"expected images in the folder {path.name!r}, found none; check it")
        yield from found


def _print_row(path: Path, answer: "Answer | None", error: str, as_json: bool) -> None:
    if as_json:
        row = {"path": str(path)} | (_as_json(answer) if answer else {"error": error})
        print(json.dumps(encodable_parts(row)), flush=True)
    elif answer is None:
        warn(f"error: {path}: {error}")
    else:
        best = ", ".join(f"{p.label} {score_text(p.score)}" for p in answer.predictions)
        unlike = "unlike the training photos; closest: " if answer.known is False else ""
        print(printable(f"{path}: {unlike}{best}"), flush=True)


def _as_json(answer: "Answer") -> dict:
    found = {"predictions": [{"label": p.label, "score": p.score} for p in answer.predictions]}
    if answer.known is not None:
        found |= {"known": answer.known, "familiarity": answer.familiarity}
    return found | ({} if answer.set is None else {"set": answer.set})


def evaluate(
    context: typer.Context,
    run: RunOrRepository,
    source: Source,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a classifier on one split of a dataset. For the training's own dataset the options
    default to those of the training."""
    from transfer.inference.evaluate import evaluate
    from transfer.inference.loading import load
    from transfer.runs.holdout import OPTIONS

    options = {name: context.params[name] for name in OPTIONS}
    progress = Progress()
    report = evaluate(load(run), source, split, report=progress.report, **options)
    progress.say(f"Evaluated {report['images']:,} images")
    if note := report.get("note"):
        warn(f"note: {note}")
    if as_json:
        print(json.dumps(encodable_parts(report)))
        return
    images = report["images"]
    accuracy = accuracy_text(report["accuracy"], images)
    print(ACCURACY_LINE.format(accuracy, interval_text(*report["interval"], images), images))
    if report["uneven"]:
        print(BALANCED_LINE.format(**report))
    print(CALIBRATION_LINE.format(**report["calibration"]))
    if sets := report.get("sets"):
        print(SETS_LINE.format(**sets))
    if "unknown" in report:
        print(f"unlike the training photos: {report['unknown']:.1%} of the images")
    for row in report["classes"]:
        print(printable(CLASS_LINE.format(**row)))
    for mistake in report["mistakes"][:MISTAKES_PRINTED]:
        print(printable(MISTAKE_LINE.format(**mistake | {"score": score_text(mistake["score"])})))
    for problem in report["skipped"]:
        warn("skipped: {where}: {why}".format(**problem))
    suggest("review", source, run=run if Path(run).is_dir() else None)
