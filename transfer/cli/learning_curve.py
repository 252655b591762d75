"""The command `learning-curve`: would more images help?"""

import json
from typing import TYPE_CHECKING

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
from transfer.cli.progress import Progress, run_for, suggest
from transfer.formatting import encodable_parts, points_gained, printable

if TYPE_CHECKING:
    from transfer.training.learning_curve import LearningCurve

POINT_LINE = "{images:>7,} images: accuracy {accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})"


def learning_curve(
    context: typer.Context,
    source: Source,
    limit_per_class: LimitPerClass = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what more images would give: the accuracy of a logistic regression on parts of the
    images, extrapolated to twice as many."""
    progress = Progress()
    progress.say("Loading torch and timm")
    from transfer.training.cached_features import asked_settings
    from transfer.training.learning_curve import learning_curve

    given = {name: context.params[name] for name in DATA_OPTIONS}
    found = progress.follow(learning_curve(source, asked_settings(None, given)))
    if as_json:
        print(json.dumps(encodable_parts(found.to_json())))
    else:
        _print(found)
        suggest("train", source, out=run_for(source), **given)


def _print(found: "LearningCurve") -> None:
    for point in found.points:
        print(POINT_LINE.format(**point))
    gain = found.doubled
    print(
        f"with twice as many images ({2 * found.images:,}): {100 * gain['gain']:+.1f} points of "
        f"accuracy (95 % interval {points_gained(*gain['expected'])}; on the test images alone "
        f"one would measure {points_gained(gain['low'], gain['high'])})"
    )
    for row in found.helpful:
        gain = points_gained(row["low"], row["high"])
        print(printable(f"{row['more']} more of {row['label']}: {gain} over all classes"))
    if others := [row["label"] for row in found.classes if row not in found.helpful]:
        print(printable(f"more of {', '.join(others)} alone: no clear gain"))
