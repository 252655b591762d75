"""How long a training will take, foretold from this machine's speed before anything is read.

Rougher than `plan`, which times the images themselves once a training has begun.
"""

import math

from transfer.data.dataset import DatasetSummary
from transfer.settings import BLOCKS, TrainingSettings
from transfer.training.benchmark import LEARNING, SIDE, Speed
from transfer.training.defaults import fill_defaults

MILLION_PARAMETERS = {
    "block1": 0.04,
    "block2": 0.22,
    "block3": 1.48,
    "block4": 5.90,
    "block5": 7.08,
}
# as `search` tries heads, which imports torch
HEADS_TRIED, SHARE_OF_THE_EPOCHS, FEWEST_EPOCHS = 11, 0.5, 12
IMAGES_A_BATCH, MOST_TRAINING_VIEWS = 32, 4_000
EPOCH_SECONDS = 0.05
REST_SECONDS = 4.0


def forecast(
    speed: Speed,
    settings: TrainingSettings,
    look: DatasetSummary,
    images: dict[str, int],
    weights: str,
) -> dict[str, float]:
    """Step → seconds: images, heads, warm-up, fine-tune; the rest is opening and judging.

    `images` are those a split, `weights` is where the body will come from. Features of an earlier
    training are not counted on; where they are found, it goes quicker.
    """
    settings = fill_defaults(settings, look, weights, fast_device=speed.fast_device)
    tuned = settings.method == "finetune"
    views = settings.views if tuned else 1
    area = (settings.image_size / SIDE) ** 2
    train, held_out = images["train"], images["validation"]
    passes = train * views + held_out + images["test"]
    seconds = {"images": passes * area * sum(speed.forward.values())}
    if tuned and settings.try_heads:
        seconds["heads"] = _heads(speed, settings, train, views)
    if tuned:
        seconds["warm-up"] = _warm_up(speed, settings, train)
    if tuned and settings.unfreeze != "none":
        seconds["fine-tune"] = _fine_tune(speed, settings, train, held_out, area)
    return seconds | {"the rest": REST_SECONDS}


def _heads(speed: Speed, settings: TrainingSettings, train: int, views: int) -> float:
    epochs = max(FEWEST_EPOCHS, SHARE_OF_THE_EPOCHS * settings.warm_up.epochs)
    steps = math.ceil(min(train, MOST_TRAINING_VIEWS // views) / IMAGES_A_BATCH)
    return HEADS_TRIED * epochs * steps * speed.head_step


def _warm_up(speed: Speed, settings: TrainingSettings, train: int) -> float:
    phase = settings.warm_up
    steps = math.ceil(train / phase.batch_size)
    return phase.epochs * (steps * speed.head_step + EPOCH_SECONDS)


def _fine_tune(
    speed: Speed, settings: TrainingSettings, train: int, held_out: int, area: float
) -> float:
    learns = BLOCKS[BLOCKS.index(settings.unfreeze) :]
    an_image = area * sum(speed.forward[block] for block in learns)
    a_step = speed.step * sum(MILLION_PARAMETERS[block] for block in learns) + speed.head_step
    steps = math.ceil(train / settings.fine_tune.batch_size)
    an_epoch = train * LEARNING * an_image + held_out * an_image + steps * a_step
    return settings.fine_tune.epochs * (an_epoch + EPOCH_SECONDS)
