"""The hyper-parameter rule: every setting left open, chosen from the dataset's size and pictures.

Like BiT-HyperRule (Kolesnikov et al. 2020) it is a function of the number of images: few images get
more epochs and views, everything else hardly depends on it. Numbers change smoothly, so that one
image more never makes another training. Nothing here imports torch.
"""

from dataclasses import dataclass, replace

from transfer.data.dataset import DatasetSummary
from transfer.settings import HeadSettings, TrainingSettings

FEW = 2_000  # training images that are trained on as often as fewer would be
LARGE_FROM = 4_000  # training images from which photos are made smaller without a GPU
THUMBNAIL_SIZE = 96
BATCH_SIZE = 32
LINEAR_RATE = 0.1  # of the warm-up's rate, for the linear head that starts fitted

# the head search: shapes (`head_shapes`), then dropout, rate and optimizer of the best one
HEAD_DROPOUTS = (0.3, 0.5, 0.7)
HEAD_LEARNING_RATES = (1e-3, 3e-3)
HEAD_OPTIMIZERS = ("sgd",)  # besides the first head's optimizer
TRIAL_BATCH_SIZES = (32, 64)  # of few and of many images
TRIAL_BATCHES = 16  # an epoch, as far as these sizes allow
TRIAL_VIEWS = 4_000  # training views that a trial learns from, at most
TRIAL_IMAGES_A_CLASS = 10  # on average, at least
FEWEST_TRIAL_EPOCHS = 12

# learning rates that suit AdamW, and what others of timm's optimizers need times as much: measured
# as the rate of the least validation loss of a head on the features of 720 photos
LEARNING_RATES = {"warm-up": 1e-3, "fine-tune": 3e-4}
RATE_FACTORS = {
    "rmsprop": 0.1,  # timm's has a momentum of 0.9, so its steps add up to ten times the rate
    "sgd": 50,
    "momentum": 50,
    "larc": 50,
    "lamb": 20,
    "novograd": 20,
    "adagrad": 30,
    "radam": 10,
    "muon": 3,
    "lars": 1_000,
    "adadelta": 1_000,
}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a named effort gives to few images; settings that are given win over it.

    Epochs of each phase, views of each image (at least `fewest_views` of many images), the side of
    photos in pixels; `unfreeze` is the lowest block that learns.
    """

    warm_up_epochs: int
    fine_tune_epochs: int
    views: int
    fewest_views: int
    image_size: int
    unfreeze: str
    try_heads: bool


EFFORTS = {
    "quick": Effort(
        warm_up_epochs=20,
        fine_tune_epochs=6,
        views=1,
        fewest_views=1,
        image_size=192,
        unfreeze="none",
        try_heads=False,
    ),
    "balanced": Effort(
        warm_up_epochs=40,
        fine_tune_epochs=12,
        views=4,
        fewest_views=2,
        image_size=224,
        unfreeze="block5",
        try_heads=True,
    ),
    "thorough": Effort(
        warm_up_epochs=60,
        fine_tune_epochs=24,
        views=8,
        fewest_views=4,
        image_size=224,
        unfreeze="block4",
        try_heads=True,
    ),
}


def learning_rate(phase: str, optimizer: str) -> float:
    """The peak rate of a phase for timm's optimizer of that name, by its family."""
    known = [family for family in RATE_FACTORS if optimizer.lower().startswith(family)]
    return LEARNING_RATES[phase] * RATE_FACTORS.get(max(known, key=len, default=""), 1)


def head_shapes(classes: int) -> list[HeadSettings]:
    """The shapes that the head search tries: hidden layers no narrower than the classes need."""
    width = hidden_width(classes)
    names = ("avg-{0}", "avg-{1}", "avg-{1}-{0}", "flatten-{0}")
    return [HeadSettings.named(name.format(width, 2 * width)) for name in names]


def hidden_width(classes: int) -> int:
    """256 for up to 128 classes, then the power of two at or above twice their number."""
    return min(max(256, 1 << (2 * classes - 1).bit_length()), 2048)


def heads_tried(classes: int) -> int:
    """The linear head, the first one, and the rounds; each leaves out what the best head has."""
    rates = len(HEAD_LEARNING_RATES) - 1 + len(HEAD_OPTIMIZERS)
    return 1 + len(head_shapes(classes)) + len(HEAD_DROPOUTS) - 1 + rates


def trial_epochs(warm_up_epochs: int) -> int:
    """Epochs of one trial of the head search: half a warm-up is enough to tell heads apart."""
    return max(FEWEST_TRIAL_EPOCHS, round(0.5 * warm_up_epochs))


def trial_batch_size(images: int) -> int:
    """Of a trial that learns from so many images."""
    smallest, largest = TRIAL_BATCH_SIZES
    return min(max(images // TRIAL_BATCHES, smallest), largest)


def trial_images(views: int, classes: int) -> int:
    """Training images that a trial learns from, at most."""
    return max(TRIAL_VIEWS // views, TRIAL_IMAGES_A_CLASS * classes)


def fill_defaults(
    settings: TrainingSettings, dataset: DatasetSummary, *, fast_device: bool
) -> TrainingSettings:
    """The same settings, with everything left open chosen from the dataset."""
    effort, images = EFFORTS[settings.effort], dataset.train_images
    image_size = settings.image_size or _image_size(dataset, effort, fast_device)
    # a flattened 2×2 map still says where things are; a larger one only invites overfitting
    pooling = settings.head.pooling or ("flatten" if image_size < 96 else "avg")
    hidden, dropout = settings.head.hidden, settings.head.dropout
    if hidden is None:
        hidden = (hidden_width(dataset.classes),)
    # letters and digits mean something else when mirrored; all others are mirrored at least
    views = (
        1 if dataset.drawings else max(effort.fewest_views, round(effort.views * _fewer(images)))
    )
    class_weights = settings.class_weights
    warm_up = settings.warm_up.filled(optimizer="adamw")
    fine_tune = settings.fine_tune.filled(optimizer="adamw")
    return replace(
        settings,
        image_size=image_size,
        unfreeze=settings.unfreeze or effort.unfreeze,
        try_heads=settings.try_heads and effort.try_heads,
        head=HeadSettings(
            pooling=pooling, hidden=hidden, dropout=0.5 if dropout is None else dropout
        ),
        views=settings.views or views,
        class_weights=dataset.uneven if class_weights is None else class_weights,
        warm_up=warm_up.filled(
            epochs=max(3, round(effort.warm_up_epochs * _fewer(images))),
            learning_rate=learning_rate("warm-up", warm_up.optimizer),
            weight_decay=0.01,
            batch_size=BATCH_SIZE,
        ),
        fine_tune=fine_tune.filled(
            epochs=max(2, round(effort.fine_tune_epochs * _fewer(images))),
            # much less than warm-up's: pretrained filters must not move far
            learning_rate=learning_rate("fine-tune", fine_tune.optimizer),
            weight_decay=0.05,
            batch_size=BATCH_SIZE,
        ),
    )


def _fewer(images: int) -> float:
    """The share of epochs and views that so many images need.

    A new head needs a number of steps rather than of epochs, and many images bring their steps:
    these grow as the square root of the images.
    """
    return min(1.0, (FEW / images) ** 0.5)


def _image_size(dataset: DatasetSummary, effort: Effort, fast_device: bool) -> int:
    """Pixels of a side, a multiple of 32. Time and cache grow with its square."""
    if dataset.drawings:
        return 64
    if dataset.side <= 64:
        return THUMBNAIL_SIZE  # more pixels would show nothing more
    if fast_device:
        return 224
    # VGG16's own size; without a GPU less of it for many images, so that hours stay minutes
    share = min(1.0, (LARGE_FROM / dataset.train_images) ** 0.25)
    return max(128, 32 * round(effort.image_size * share / 32))
