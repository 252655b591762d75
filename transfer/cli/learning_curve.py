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
from transfer.cli.progress import Progress
from transfer.formatting import encodable_parts, printable

if TYPE_CHECKING:
    from transfer.training.learning_curve import LearningCurve

SMALLEST_GAIN = 0.0005  # which is printed as 0.1 points
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


def _print(found: "LearningCurve") -> None:
    for point in found.points:
        print(POINT_LINE.format(**point))
    gain = found.doubled
    print(
        f"with twice as many images ({2 * found.images:,}): {100 * gain['gain']:+.1f} points of "
        f"accuracy (95 % interval {_points(*gain['expected'])}; on the test images alone one would "
        f"measure {_points(gain['low'], gain['high'])})"
    )
    helpful = [row for row in found.classes if row["low"] > SMALLEST_GAIN]
    for row in helpful:
        gain = _points(row["low"], row["high"])
        print(printable(f"{row['more']} more of {row['label']}: {gain} over all classes"))
    if others := [row["label"] for row in found.classes if row not in helpful]:
        print(printable(f"more of {', '.join(others)} alone: no gain that can be told"))


def _points(low: float, high: float) -> str:
    """As in `+1.0 to +4.2 points`, in percentage points."""
    # no -0.0
    low, high = (round(100 * gain, 1) + 0.0 for gain in (low, high))
    return f"{low:+.1f} to {high:+.1f} points"
