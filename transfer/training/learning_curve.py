"""The learning curve of a dataset, on its cached features."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch

from transfer.data.splits import stratified_rows
from transfer.errors import SourceError
from transfer.events import Event
from transfer.features.learning_curve import (
    FEWEST_SIZES,
    MOST_JUDGED,
    class_gains,
    curve_points,
    doubled,
    hits_by_size,
    sizes_of,
)
from transfer.features.out_of_fold import plain_features
from transfer.runs.familiarity import directions
from transfer.settings import TrainingSettings
from transfer.training.cached_features import cached_features

SMALLEST_GAIN = 0.0005  # which is shown as 0.1 points


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """`points` are {"images", "accuracy", "low", "high"}; `doubled` is the {"gain", "low", "high",
    "expected"} of twice the `images` in training and validation; `classes` are {"label", "images",
    "more", "gain", "low", "high"} of those with the most mistakes."""

    points: list[dict]
    doubled: dict
    classes: list[dict]
    images: int

    @property
    def helpful(self) -> list[dict]:
        """The classes of which more images alone would help."""
        return [row for row in self.classes if row["low"] > SMALLEST_GAIN]

    def to_json(self) -> dict:
        return asdict(self)


def learning_curve(source: str, asked: TrainingSettings) -> Iterator[Event]:
    """Compute what is not cached, then fit on parts; returns the LearningCurve.

    Raises TransferError, also where there are too few images for a curve.
    """
    training = yield from cached_features(source, asked)
    splits, seed = training.features, training.settings.seed
    images = len(splits["train"]) + len(splits["validation"])
    y = np.concatenate([split.labels.numpy() for split in splits.values()])
    rows = stratified_rows(y, MOST_JUDGED, seed)
    x = directions(np.concatenate([*map(plain_features, splits.values())])[rows])
    y = y[rows]
    sizes = sizes_of(images, y, seed)
    if len(sizes) < FEWEST_SIZES:
        raise SourceError(
            "expected enough images to learn from for a learning curve, at least 6 of each class, "
            f"found {images} of {len(training.images.classes)} classes; add images"
        )
    hits = hits_by_size(x, y, sizes, seed)
    learned = torch.cat([splits[name].labels for name in ("train", "validation")])
    counts = np.bincount(learned.numpy(), minlength=len(training.images.classes))
    gains = class_gains(x, y, sizes[-1], hits[-1], counts, seed)
    return LearningCurve(
        points=curve_points(hits, sizes),
        doubled=doubled(hits, sizes, images, len(splits["test"]), seed),
        classes=[
            {"label": training.images.classes[label], "images": int(counts[label])} | gain
            for label, gain in gains.items()
        ],
        images=images,
    )
