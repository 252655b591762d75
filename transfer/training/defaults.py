"""How much is done to teach a network: three named efforts, and what each of them changes."""

from dataclasses import dataclass, replace

from transfer.data.dataset import DatasetSummary
from transfer.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Effort:
    """`warm_up`, `fine_tune` and `views` multiply the epochs and the views of each image that the
    data would get; `unfreeze` is the lowest block that learns; `try_heads` whether several heads
    are tried on the features first.
    """

    what: str
    warm_up: float
    fine_tune: float
    views: float
    unfreeze: str
    try_heads: bool


EFFORTS = {
    "quick": Effort(
        what="Warm-up alone, with half of the epochs, one view of each image and the usual head.",
        warm_up=0.5,
        fine_tune=0.5,
        views=0.25,
        unfreeze="none",
        try_heads=False,
    ),
    "balanced": Effort(
        what="Several heads are tried, the best one warms up, then block5 learns too.",
        warm_up=1,
        fine_tune=1,
        views=1,
        unfreeze="block5",
        try_heads=True,
    ),
    "thorough": Effort(
        what="Twice the fine-tune epochs over twice the views of each photo, and block4 learns as "
        "well.",
        warm_up=1.5,
        fine_tune=2,
        views=2,
        unfreeze="block4",
        try_heads=True,
    ),
}


def times(factor: float, number: int) -> int:
    """So many times a number of epochs or views, one at least."""
    return max(1, round(factor * number))


def fill_defaults(
    settings: TrainingSettings, look: DatasetSummary, weights: str, *, fast_device: bool
) -> TrainingSettings:
    """The same settings, with everything left open chosen from the data.

    Small data gets more epochs and more views of each image, because it is the number of steps
    that a cold head needs; large data brings its steps along. The rates do not depend on size.
    """
    small, medium = look.train_images <= 2_000, look.train_images <= 20_000
    if look.grey:
        image_size = 64  # drawings, letters, scans
    elif look.side <= 64:
        image_size = 80  # thumbnails: nothing more to see
    elif weights == "bundled":
        image_size = 112  # that body grew up on 64 px
    else:
        image_size = 224 if fast_device or small else 160
    image_size = settings.image_size or image_size
    # a map of 2 x 2 still tells where things are; a larger one is only more to learn by heart
    pooling = settings.head.pooling or ("flatten" if image_size < 96 else "avg")
    dropout = settings.head.dropout
    if dropout is None:
        dropout = 0.5 if look.grey else 0.7
    # a mirrored letter or digit means something else, and grey pictures are mostly such
    effort = EFFORTS[settings.effort]
    views = 1 if look.grey else times(effort.views, 4 if small else 2 if medium else 1)
    return replace(
        settings,
        image_size=image_size,
        unfreeze=settings.unfreeze or effort.unfreeze,
        try_heads=settings.try_heads and effort.try_heads,
        head=replace(settings.head, pooling=pooling, dropout=dropout),
        views=settings.views or views,
        class_weights=look.uneven if settings.class_weights is None else settings.class_weights,
        warm_up=settings.warm_up.filled(
            epochs=times(effort.warm_up, 40 if small else 20 if medium else 10),
            learning_rate=1e-3,
            optimizer="adamw",
            weight_decay=0.01,
            batch_size=32 if small else 128,
        ),
        fine_tune=settings.fine_tune.filled(
            epochs=times(effort.fine_tune, 12 if small else 6 if medium else 3),
            learning_rate=1e-4,
            optimizer="adamw",
            weight_decay=0.05,
            batch_size=32,
        ),
    )
