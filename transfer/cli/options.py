"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="`digits`, a folder, a zip or a Hub id (user/name).")]
RunOrRepository = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_REPO", help="A run folder, an exported folder, or a Hub id or link."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
LimitPerClass = Annotated[
    int | None, typer.Option(help="Use at most this many images per class and split.")
]
ImageColumn = Annotated[str | None, typer.Option(help="A Hub dataset's column of images.")]
LabelColumn = Annotated[str | None, typer.Option(help="A Hub dataset's column of labels.")]
ImageSize = Annotated[int | None, typer.Option(help="Side in pixels.")]
Weights = Annotated[str | None, typer.Option(help="auto, hub, bundled, random or a file.")]
Seed = Annotated[int | None, typer.Option(help="As the training's, for the same splits.")]
Config = Annotated[str | None, typer.Option(help="A Hub dataset's config.")]
# of the commands that read a dataset as a training would; each is a setting of the same name
DATA_OPTIONS = (
    "limit_per_class",
    "image_column",
    "label_column",
    "config",
    "image_size",
    "weights",
    "seed",
)
