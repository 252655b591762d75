"""The command line. Results go to stdout, everything else to stderr."""

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from transfer.cli.cache import cache
from transfer.cli.interrupt import Interrupted, lasting_interrupt
from transfer.cli.publish import publish
from transfer.errors import SettingsError, TransferError
from transfer.formatting import escape_unencodable_output, printable

# typer exports one kind of usage error; its parent is all of them
UsageError = typer.BadParameter.__base__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-tune VGG16 on your images in two phases, and classify with the result.",
)

Source = Annotated[str, typer.Argument(help="`digits`, a folder, or a Hub id like user/name.")]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")]
RunOrRepository = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_REPO", help="A run folder, an exported folder, or a Hub id or link."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
LimitPerClass = Annotated[
    int | None, typer.Option(help="At most so many images a class and split.")
]
ImageColumn = Annotated[str | None, typer.Option(help="A Hub data set's column of images.")]
LabelColumn = Annotated[str | None, typer.Option(help="A Hub data set's column of labels.")]
Config = Annotated[str | None, typer.Option(help="A Hub data set's config.")]


def main() -> None:
    """Run the command line: exit 0 done, 1 a clear error, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    escape_unencodable_output()
    try:
        status = app(standalone_mode=False)
    except UsageError as error:
        status = _complain(error.format_message(), 2)
    except SettingsError as error:
        status = _complain(printable(str(error)), 2)
    except TransferError as error:
        status = _complain(printable(str(error)), 1)
    except Interrupted as stopped:
        status = _complain(stopped, 130)
    except (KeyboardInterrupt, typer.Abort):
        status = _complain("interrupted; nothing was kept", 130)
    except BrokenPipeError:
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: object, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


@app.command()
def inspect(
    source: Source,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say what a source holds, and what is wrong with it: files that cannot be read, classes with
    few images, the same picture twice."""
    from transfer.cli.progress import Progress
    from transfer.data.checks.inspect import described
    from transfer.data.checks.inspect import inspect as look_at
    from transfer.data.source import open_dataset
    from transfer.formatting import duration
    from transfer.settings import TrainingSettings

    settings = TrainingSettings(image_column=image_column, label_column=label_column, config=config)
    progress, started = Progress(), time.monotonic()
    found = look_at(open_dataset(source, settings), progress.report)
    images = sum(found.splits.values())
    progress.say(f"looked at {images} images in {duration(time.monotonic() - started)}")
    if as_json:
        print(json.dumps(found.to_json()))
        return
    for line in described(found):
        print(line)


@app.command()
def train(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="RUN", help="A new folder for the run.")],
    method: Annotated[str, typer.Option(help="finetune or features.")] = "finetune",
    weights: Annotated[
        str, typer.Option(help="auto, hub, bundled, random, or a .safetensors or .pth file.")
    ] = "auto",
    image_size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    head: Annotated[
        str, typer.Option(help="auto tries several; or one like avg-256 or flatten-256-128.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, bf16, fp16 or fp32; auto: what the hardware does best.")
    ] = "auto",
    class_weights: Annotated[
        bool | None, typer.Option(help="Weigh all classes the same; left open: where uneven.")
    ] = None,
    effort: Annotated[
        str, typer.Option(help="quick, balanced or thorough: decides what is left open.")
    ] = "balanced",
    unfreeze: Annotated[
        str | None, typer.Option(help="block1 … block5, or none; left open: by the effort.")
    ] = None,
    head_epochs: Annotated[int | None, typer.Option(help="At most, in warm-up.")] = None,
    finetune_epochs: Annotated[int | None, typer.Option(help="At most, in fine-tune.")] = None,
    head_lr: Annotated[float | None, typer.Option(help="Learning rate of warm-up.")] = None,
    finetune_lr: Annotated[float | None, typer.Option(help="Of fine-tune.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Any of timm's, by name.")] = None,
    target_accuracy: Annotated[
        float | None, typer.Option(help="Stop once validation reaches it (0 to 1).")
    ] = None,
    seed: Annotated[int, typer.Option(help="For splits, head and order.")] = 0,
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep a checkpoint, and go on from one in RUN.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a head on the frozen body, then unfreeze upper blocks and go on gently."""
    from transfer.cli.progress import Progress

    options = {k: v for k, v in locals().items() if k not in ("Progress", "source", "as_json")}
    progress = Progress()
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch` one
    if speaks:
        progress.say("loading torch and timm")
    from transfer.training.recipe import training_events

    event = None
    kept = "the same command goes on from here" if resume else "nothing was kept"
    with lasting_interrupt(kept) as check:
        for event in training_events(source, should_stop=check, **options):
            check()
            if speaks:
                progress.report(event)
    if as_json and speaks:
        print(json.dumps(event.result))


@app.command()
def classify(
    run: RunOrRepository,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    as_json: AsJson = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table instead.")
    ] = None,
) -> None:
    """Say what is on pictures: one line a file, in order; exits 1 if one could not be read."""
    from transfer.errors import ImageError
    from transfer.inference.loading import load

    if as_json and csv_file:
        raise SettingsError("expected one of --json and --csv, found both; choose one")
    classifier = load(run)
    rows, failed = [], False
    for path in paths:
        try:
            predictions = classifier.classify(path, top)
        except ImageError as error:
            failed = True
            rows.append((path, [], str(error)))
        else:
            rows.append((path, predictions, ""))
        if not csv_file:
            _print_classified(*rows.pop(), as_json)
    if csv_file:
        _write_csv(csv_file, rows, min(top, len(classifier.classes)))
    if failed:
        raise typer.Exit(1)


def _print_classified(path: Path, predictions: list, error: str, as_json: bool) -> None:
    if as_json:
        found = {"predictions": [{"label": p.label, "score": p.score} for p in predictions]}
        print(json.dumps({"path": str(path)} | ({"error": error} if error else found)), flush=True)
    elif error:
        print(printable(f"error: {path}: {error}"), file=sys.stderr)
    else:
        best = ", ".join(f"{p.label} {p.score:.1%}" for p in predictions)
        print(printable(f"{path}: {best}"), flush=True)


def _write_csv(target: Path, rows: list[tuple], top: int) -> None:
    """Names of files stand there byte for byte, whether they are UTF-8 or not."""
    columns = [f"{name}_{i}" for i in range(1, top + 1) for name in ("label", "score")]
    try:
        with target.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *columns, "error"])
            for path, predictions, error in rows:
                cells = [cell for p in predictions for cell in (p.label, f"{p.score:.6f}")]
                cells += [""] * (len(columns) - len(cells))
                writer.writerow([path, *cells, error])
    except OSError as error:
        raise TransferError(
            f"the table {target.name!r} cannot be written ({error.strerror}); choose another place"
        ) from None


@app.command()
def evaluate(
    run: RunOrRepository,
    source: Source,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Judge a classifier on one split of a source. What is left open is as in the training where it
    is the training's own source."""
    from transfer.inference.evaluate import evaluate as judge
    from transfer.inference.loading import load

    report = judge(
        load(run),
        source,
        split,
        limit_per_class=limit_per_class,
        image_column=image_column,
        label_column=label_column,
        config=config,
    )
    if note := report.get("note"):
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(report))
        return
    for line in _judged(report):
        print(printable(line))
    for problem in report["skipped"]:
        print(printable(f"skipped: {problem['where']}: {problem['why']}"), file=sys.stderr)


def _judged(report: dict) -> Iterator[str]:
    """Lines for a person."""
    low, high = report["interval"]
    yield (
        f"accuracy {report['accuracy']:.4f} ({low:.3f} to {high:.3f} with 95 % confidence) "
        f"on {report['images']} images"
    )
    for row in report["classes"]:
        yield (
            f"{row['label']}: precision {row['precision']:.3f}, recall {row['recall']:.3f}, "
            f"F1 {row['f1']:.3f}, support {row['support']}"
        )
    for mistake in report["mistakes"][:10]:
        yield (
            f"mistake: {mistake['name']}: {mistake['label']} taken for "
            f"{mistake['predicted']} ({mistake['score']:.1%})"
        )


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    format: Annotated[str, typer.Option(help="timm, which transformers loads too.")] = "timm",
) -> None:
    """Write a run as a folder that timm and transformers load without this package."""
    from transfer.publishing.timm_export import export as write

    folder = write(run, out, format)
    print(folder)
    for call in (
        f'timm.create_model("local-dir:{folder}", pretrained=True)',
        f'transformers.pipeline("image-classification", model="{folder}")',
    ):
        print(f"load it with {call}", file=sys.stderr)


app.command()(publish)
app.command()(cache)
