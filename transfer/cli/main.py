"""The command line. Results go to stdout, everything else to stderr."""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated

import typer

from transfer import __version__
from transfer.cli.cache import cache
from transfer.cli.interrupt import Interrupted, lasting_interrupt
from transfer.cli.learning_curve import learning_curve
from transfer.cli.options import AsJson, Config, ImageColumn, LabelColumn, Source
from transfer.cli.predict import classify, evaluate
from transfer.cli.progress import Progress, run_for, suggest, warn
from transfer.cli.publish import publish
from transfer.cli.review import review
from transfer.cli.train import train
from transfer.errors import SettingsError, SignInError, TransferError
from transfer.formatting import (
    duration,
    encodable_parts,
    error_line,
    prepare_streams,
    without_folders,
)
from transfer.settings import TrainingSettings

# typer exports one kind of usage error; its parent is all of them
UsageError = typer.BadParameter.__base__
INTERRUPTED = 130
AGREEMENT = (
    "compared with the run on {images} images, {photos} of them test photos: scores differ by at "
    "most {difference:.1g}, {changed} answers changed"
)
NEXT = {  # after an export of this format
    "timm": (
        'load it with timm.create_model("local-dir:{folder}", pretrained=True)',
        'or transformers.pipeline("image-classification", model="{folder}")',
    ),
    "onnx": ("try it: python -m transfer classify {folder} PHOTO; README.md in it says more",),
    "page": (
        "try it: python -m http.server --directory {folder}; then open http://localhost:8000",
    ),
}

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-tune VGG16 on your images in two phases, and classify with the result.",
)


def main() -> None:
    """Run the command line: exit 0 done, 1 a clear error, 2 wrong usage, 130 interrupted, 128 + n
    after signal n."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    prepare_streams()
    try:
        with lasting_interrupt():
            status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
            if status == INTERRUPTED:  # typer's answer to a KeyboardInterrupt
                raise KeyboardInterrupt
            sys.stdout.flush()
    except UsageError as error:
        status = _fail(error.format_message(), 2)
    except SignInError as error:
        status = _fail(f"{error}; run `hf auth login`", 1)
    except TransferError as error:
        status = _fail(error, 2 if isinstance(error, SettingsError) else 1)
    except Interrupted as interrupted:
        status = _fail(interrupted, interrupted.status)
    except BrokenPipeError:
        status = 1
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        status = _fail(error_line(error) or unexpected(error, "-m transfer …"), 1)
    _drop_unwritten_output()
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: object, status: int) -> int:
    warn(f"error: {message}")
    return status


def unexpected(error: Exception, command: str) -> str:
    """One line about an error that is nobody's fault but ours, or a library's."""
    from transfer.jobs.process import redacted

    step = traceback.extract_tb(error.__traceback__)[-1]
    where = "/".join(Path(step.filename).parts[-2:])
    text = without_folders(redacted(str(error)))[:300]
    return (
        f"{type(error).__name__} in {where}, line {step.lineno}: {text}; this is not expected: "
        f"`python -X dev {command}` shows all of it"
    )


def _drop_unwritten_output() -> None:
    """What a full disk or a closed pipe has refused would be refused again at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_version(wanted: bool) -> None:
    if wanted:
        print(f"transfer {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """Fine-tune VGG16 on your images in two phases, and classify with the result."""


def inspect(
    source: Source,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Count a dataset's images and report problems: unreadable files, small classes, duplicates."""
    from transfer.data.checks.inspect import inspect
    from transfer.data.checks.summary import report_lines
    from transfer.data.source import open_dataset

    settings = TrainingSettings(image_column=image_column, label_column=label_column, config=config)
    progress, started = Progress(), time.monotonic()
    found = inspect(open_dataset(source, settings), progress.report)
    images = sum(found.splits.values())
    progress.say(f"Checked {images:,} images in {duration(time.monotonic() - started)}")
    if as_json:
        print(json.dumps(encodable_parts(found.to_json())))
        return
    for line in report_lines(found):
        print(line)
    columns = {"image_column": image_column, "label_column": label_column, "config": config}
    suggest("train", source, out=run_for(source), **columns)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    format: Annotated[
        str,
        typer.Option(
            help="timm, which transformers loads too; onnx; or page, which runs in the browser."
        ),
    ] = "timm",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32 (default of onnx), fp16 (of page) or int8, a quarter as large."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|cdn",
            help="Of page: a folder with the npm package onnxruntime-web, or cdn; else downloaded.",
        ),
    ] = None,
) -> None:
    """Write a run as a folder that works without this package."""
    from transfer.publishing.export import export

    progress = Progress()
    folder = export(run, out, format, precision=precision, runtime=runtime, report=progress.report)
    print(folder)
    if format != "timm":
        from transfer.inference.onnx_model import read_agreement

        warn(AGREEMENT.format(**read_agreement(folder)))
    for line in NEXT[format]:
        warn(line.format(folder=folder))


for command in (inspect, train, classify, evaluate, export, publish, review, learning_curve, cache):
    app.command()(command)
