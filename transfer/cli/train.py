"""The command `train`."""

import json
import os
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from transfer.cli.interrupt import lasting_interrupt
from transfer.cli.options import (
    AsJson,
    Config,
    ImageColumn,
    ImageSize,
    LabelColumn,
    LimitPerClass,
    Source,
)
from transfer.cli.progress import Progress, suggest
from transfer.cli.publish import report_publish
from transfer.errors import SettingsError, TransferError
from transfer.formatting import encodable_parts
from transfer.settings import (
    EFFORTS,
    METHODS,
    PRECISIONS,
    UNFREEZE,
    WEIGHTS,
    TrainingSettings,
)

NOT_SETTINGS = ("source", "out", "resume", "publish", "track", "as_json")


def train(
    context: typer.Context,
    source: Source,
    out: Annotated[Path, typer.Option(metavar="RUN", help="A new folder for the run.")],
    method: Annotated[
        str, typer.Option(metavar="|".join(METHODS), help="features only fits a linear classifier.")
    ] = "finetune",
    weights: Annotated[
        str, typer.Option(metavar=f"{'|'.join(WEIGHTS)}|FILE", help="Where the body comes from.")
    ] = "auto",
    image_size: ImageSize = None,
    head: Annotated[str, typer.Option(help="auto (tries several), or like avg-256.")] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="|".join(PRECISIONS), help="Of the body's numbers.")
    ] = "auto",
    class_weights: Annotated[
        bool | None, typer.Option(help="Weigh all classes equally; by default where uneven.")
    ] = None,
    effort: Annotated[
        str, typer.Option(metavar="|".join(EFFORTS), help="How long to train, and how many blocks.")
    ] = "balanced",
    unfreeze: Annotated[
        str | None,
        typer.Option(metavar="|".join(UNFREEZE), help="The lowest block that learns in fine-tune."),
    ] = None,
    head_epochs: Annotated[int | None, typer.Option(help="Most epochs of warm-up.")] = None,
    finetune_epochs: Annotated[int | None, typer.Option(help="Most epochs of fine-tune.")] = None,
    head_lr: Annotated[float | None, typer.Option(help="Learning rate of warm-up.")] = None,
    finetune_lr: Annotated[float | None, typer.Option(help="Learning rate of fine-tune.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Any of timm's, by name.")] = None,
    target_accuracy: Annotated[
        float | None, typer.Option(help="Stop once validation accuracy reaches it (0 to 1).")
    ] = None,
    seed: Annotated[int, typer.Option(help="For splits, head and order.")] = 0,
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    folds: Annotated[
        int | None, typer.Option(help="Of a cross-validation; by default 5 if validation is small.")
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels to change, images to leave out.")
    ] = None,
    others: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Photos (or a zip) of none of the classes.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Save checkpoints in RUN, and resume from them.")
    ] = False,
    publish: Annotated[
        str | None, typer.Option(metavar="USER/NAME", help="Then publish it, private if new.")
    ] = None,
    track: Annotated[
        str | None, typer.Option(help="Log to trackio, tensorboard, wandb, mlflow …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a head on the frozen body, then fine-tune the body's upper blocks. The dataset and the
    effort decide the options that are left out."""
    # every parameter but these few is a setting of the same name
    options = {name: v for name, v in context.params.items() if name not in NOT_SETTINGS}
    from transfer.data.corrections import read_corrections

    options["corrections"] = read_corrections(corrections) if corrections else ()
    settings = TrainingSettings.from_options(**options)
    if track is not None:
        _check_installed(track)
    progress, event = Progress(), None
    processes = os.environ.get("WORLD_SIZE", "1")  # set by `accelerate launch`, or left over
    one_of = "" if processes == "1" else f" in one of {processes} processes (WORLD_SIZE)"
    progress.say(f"Loading torch and timm{one_of}")
    from transfer.machine.processes import is_main_process
    from transfer.training.recipe import training_events
    from transfer.training.tracking import tracked

    if publish:
        from transfer.publishing import check_place

        publish = check_place(publish, weights)  # before hours of training
    outcome = "run the same command again to resume" if resume else "nothing was saved"
    with lasting_interrupt(outcome) as check:
        known = {"out": out, "settings": settings, "should_stop": check, "resume": resume}
        training = training_events(source, **known)
        with closing(tracked(training, track, out) if track else training) as seen:
            for event in seen:
                check()
                if is_main_process():
                    progress.report(event)
    if not is_main_process():
        return
    result = event.result
    if publish:
        result = result | {"published": _publish(progress, event.run, publish)}
    suggest("classify", out, "PHOTO_OR_FOLDER")
    if as_json:
        print(json.dumps(encodable_parts(result)))


def _check_installed(track: str) -> None:
    """Before anything is loaded; whether it is a tracker is known once Accelerate is."""
    if not (track.isidentifier() and find_spec(track)):
        raise SettingsError(
            f"expected a tracker whose package is installed, found none called {track[:40]!r}; "
            "correct the name, install it with pip, or train without --track"
        )


def _publish(progress: Progress, run: str, repository: str) -> str:
    """The address of what was published; an error says that the run is saved."""
    from transfer.publishing import PublishRequest

    with lasting_interrupt(f"the run is saved in {run}") as check:
        try:
            request = PublishRequest(run=run, repository=repository)
            return report_publish(progress, request, check).url
        except TransferError as error:
            raise type(error)(f"{error}; the run is saved in {run!r}") from None
