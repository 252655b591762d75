"""The hyper-parameter rule: every setting left open, chosen from the dataset's size and pictures.

Like BiT-HyperRule (Kolesnikov et al. 2020) it is a function of the number of images: few images get
more epochs and views, everything else hardly depends on it. Nothing here imports torch.
"""

from dataclasses import dataclass, replace

from transfer.data.dataset import DatasetSummary
from transfer.settings import TrainingSettings

SMALL, MEDIUM = 2_000, 20_000  # training images, at most

# the head search: shapes, then dropout, learning rate and optimizer of the best one
HEAD_SHAPES = ("avg", "avg-256", "avg-256-128", "flatten", "flatten-256", "flatten-256-128")
HEAD_DROPOUTS = (0.3, 0.5, 0.7)
HEAD_LEARNING_RATES = (3e-4, 1e-3, 3e-3)
HEAD_OPTIMIZERS = {"sgd": 3e-2}  # name → learning rate, besides the first head's optimizer
# each round leaves out the value that the best head has already
HEADS_TRIED = (
    len(HEAD_SHAPES) + len(HEAD_DROPOUTS) - 1 + len(HEAD_LEARNING_RATES) - 1 + len(HEAD_OPTIMIZERS)
)
TRIAL_BATCH_SIZE = 32
TRIAL_VIEWS = 4_000  # training views that a trial learns from, at most
FEWEST_TRIAL_EPOCHS = 12


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a named effort changes; settings that are given win over it.

    `warm_up`, `fine_tune` and `views` multiply the epochs and the views of each image that the
    dataset would get; `unfreeze` is the lowest block that learns.
    """

    warm_up: float
    fine_tune: float
    views: float
    unfreeze: str
    try_heads: bool


EFFORTS = {
    "quick": Effort(warm_up=0.5, fine_tune=0.5, views=0.25, unfreeze="none", try_heads=False),
    "balanced": Effort(warm_up=1, fine_tune=1, views=1, unfreeze="block5", try_heads=True),
    "thorough": Effort(warm_up=1.5, fine_tune=2, views=2, unfreeze="block4", try_heads=True),
}


def times(factor: float, number: int) -> int:
    """A number of epochs or views times `factor`, at least 1."""
    return max(1, round(factor * number))


def trial_epochs(warm_up_epochs: int) -> int:
    """Epochs of one trial of the head search: half a warm-up is enough to tell heads apart."""
    return max(FEWEST_TRIAL_EPOCHS, round(0.5 * warm_up_epochs))


def fill_defaults(
    settings: TrainingSettings, dataset: DatasetSummary, weights: str, *, fast_device: bool
) -> TrainingSettings:
    """The same settings, with everything left open chosen from the dataset."""
    effort = EFFORTS[settings.effort]
    image_size = settings.image_size or _image_size(dataset, weights, fast_device)
    # a flattened 2×2 map still says where things are; a larger one only invites overfitting
    pooling = settings.head.pooling or ("flatten" if image_size < 96 else "avg")
    dropout = settings.head.dropout
    if dropout is None:
        dropout = 0.5 if dataset.drawings else 0.7
    # letters and digits mean something else when mirrored
    views = 1 if dataset.drawings else times(effort.views, _by_size(dataset, 4, 2, 1))
    class_weights = settings.class_weights
    return replace(
        settings,
        image_size=image_size,
        unfreeze=settings.unfreeze or effort.unfreeze,
        try_heads=settings.try_heads and effort.try_heads,
        head=replace(settings.head, pooling=pooling, dropout=dropout),
        views=settings.views or views,
        class_weights=dataset.uneven if class_weights is None else class_weights,
        warm_up=settings.warm_up.filled(
            epochs=times(effort.warm_up, _by_size(dataset, 40, 20, 10)),
            learning_rate=1e-3,  # AdamW's usual rate for a new head
            optimizer="adamw",
            weight_decay=0.01,
            batch_size=_by_size(dataset, 32, 128, 128),
        ),
        fine_tune=settings.fine_tune.filled(
            epochs=times(effort.fine_tune, _by_size(dataset, 12, 6, 3)),
            learning_rate=1e-4,  # a tenth of warm-up's: pretrained filters must not move far
            optimizer="adamw",
            weight_decay=0.05,
            batch_size=32,
        ),
    )


def _by_size(dataset: DatasetSummary, small: int, medium: int, large: int) -> int:
    """A random head needs a number of steps rather than of epochs; much data brings its steps."""
    images = dataset.train_images
    return small if images <= SMALL else medium if images <= MEDIUM else large


def _image_size(dataset: DatasetSummary, weights: str, fast_device: bool) -> int:
    """Pixels of a side. Time and cache grow with its square."""
    if dataset.drawings:
        return 64  # drawings, letters, scans
    if dataset.side <= 64:
        return 80  # thumbnails: more pixels would show nothing more
    if weights == "bundled":
        return 112  # that body was trained at 64 px
    # VGG16's own size, unless a CPU would need hours for it
    return 224 if fast_device or dataset.train_images <= SMALL else 160
