"""The command `review`: labels that the other images contradict."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfer.cli.options import (
    DATA_OPTIONS,
    AsJson,
    Config,
    ImageColumn,
    ImageSize,
    LabelColumn,
    LimitPerClass,
    Seed,
    Source,
    Weights,
)
from transfer.cli.progress import Progress, run_for, suggest, warn
from transfer.errors import SettingsError
from transfer.formatting import encodable_parts, printable
from transfer.settings import Correction

if TYPE_CHECKING:
    from transfer.training.review import Review

PRINTED = 5  # suspects, at least; more only if more are estimated to be wrong
LINE = "{where}: {label}, more likely {likely} ({score:.2f})"


def review(
    context: typer.Context,
    source: Source,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Read the dataset as this run did.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the first suspects for `train --corrections`."),
    ] = None,
    take: Annotated[
        int | None, typer.Option(min=1, help="How many of them; by default the estimated number.")
    ] = None,
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """List images whose label the others contradict, most suspicious first. Nothing is changed."""
    if take and not write:
        raise SettingsError("take must come with --write, found no file to write to")
    progress = Progress()
    progress.say("Loading torch and timm")
    from transfer.training.cached_features import asked_settings
    from transfer.training.review import review

    given = {name: context.params[name] for name in DATA_OPTIONS}
    found = progress.follow(review(source, asked_settings(run, given)))
    if write:
        _write(write, found, take)
    if as_json:
        print(json.dumps(encodable_parts(found.to_json())))
    else:
        _print(found)
        if write:
            suggest("train", source, out=run_for(source), corrections=write, **given)
        elif found.suspects:
            suggest("review", source, write="corrections.json", run=run, **given)


def _print(found: "Review") -> None:
    estimate, listed = found.estimated_wrong, len(found.suspects)
    print(
        f"{listed} of {found.images:,} images are predicted as another class than their label; "
        f"about {estimate} of these labels are estimated to be wrong"
    )
    for suspect in found.suspects[: max(PRINTED, estimate)]:
        print(printable(LINE.format(**suspect)))
    if listed > max(PRINTED, estimate):
        print(f"… and {listed - max(PRINTED, estimate)} less suspicious ones (--json lists all)")
    if found.test_suspects:
        print(
            f"test images, which corrections do not change: {len(found.test_suspects)} are "
            "predicted as another class"
        )
    for suspect in found.test_suspects[:PRINTED]:
        print(printable("test: " + LINE.format(**suspect)))


def _write(file: Path, found: "Review", take: int | None) -> None:
    """The suggestions as corrections; a person should look at each of them first."""
    from transfer.data.corrections import write_corrections

    rows = found.suspects[: found.estimated_wrong if take is None else take]
    write_corrections(file, [Correction(where=row["where"], label=row["likely"]) for row in rows])
    warn(f"{len(rows)} suggestions are written to {file}; look at each before you use them")
