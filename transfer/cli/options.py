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
Config = Annotated[str | None, typer.Option(help="A Hub dataset's config.")]
