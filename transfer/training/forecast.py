"""The forecast of a training's time from this machine's speed alone, before any image is read.

Rougher than `timing`, which measures on the images themselves. Nothing here imports torch, so that
the page can show it while torch is still loading.
"""

import json
import math
import os
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from transfer.cache.paths import cache_folder
from transfer.cache.store import open_store
from transfer.data.dataset import DatasetSummary
from transfer.data.splits import ENOUGH_HELD_OUT, FOLDS
from transfer.features.fit import cache_choices
from transfer.settings import BLOCKS, LINEAR_HEAD, TrainingSettings
from transfer.training.defaults import (
    fill_defaults,
    heads_tried,
    trial_batch_size,
    trial_epochs,
    trial_images,
)

SIDE = 112  # pixels of the images that the benchmark measures with
# a training step takes this many times a forward pass: backward is two products for each of forward
BACKWARD_FACTOR = 3.2
# VGG16's convolutions
MILLION_PARAMETERS = dict(zip(BLOCKS, (0.04, 0.22, 1.48, 5.90, 7.08), strict=True))
EPOCH_SECONDS = 0.05  # validation and bookkeeping of an epoch on cached features
OTHER_SECONDS = 3.0  # opening the images, the linear probe, the report


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds on this machine, the least of so many `times` that `benchmark` measured them.

    `forward` is block → an image of SIDE px through it, `full_precision` how many times as long it
    takes in float32, `step` an optimizer step on a million parameters of the body, `head_step` one
    on a head with cached features, of which a number takes `feature_bytes`.
    """

    forward: dict[str, float]
    full_precision: float
    step: float
    head_step: float
    fast_device: bool
    feature_bytes: int
    times: int = 1


def speed_file() -> Path:
    return cache_folder() / "speed.json"


def this_machine() -> list:
    """What a measured speed depends on; several machines may share the cache folder."""
    return [platform.node(), platform.processor(), os.cpu_count(), version("torch")]


def known_speed() -> Speed | None:
    """What was measured on this machine before; None if nothing was."""
    try:
        found = json.loads(speed_file().read_text(encoding="utf-8"))
        return Speed(**found["speed"]) if found["machine"] == this_machine() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it will be measured again


def forecast(
    speed: Speed,
    settings: TrainingSettings,
    dataset: DatasetSummary,
    images: dict[str, int],
) -> dict[str, float]:
    """Step → seconds: images, heads, warm-up, fine-tune, the rest.

    `images` counts those of each split. With features in the cache from an earlier training it will
    take less. Raises CacheError where not even the least of these images fits.
    """
    settings, cut = plan_settings(speed, settings, dataset, images)
    area, train, phase = (settings.image_size / SIDE) ** 2, images["train"], settings.warm_up
    fine_tunes = settings.method == "finetune"
    # test images are computed in full precision
    slowly = speed.full_precision * images["test"]
    passes = train * settings.views + images["validation"] + slowly
    seconds = {"images": passes * area * sum(speed.forward.values())}
    if fine_tunes and settings.try_heads:
        fitted = min(train, trial_images(settings.views, dataset.classes))
        if images["validation"] < ENOUGH_HELD_OUT:  # as many folds, each without one part
            fitted *= FOLDS - 1
        steps = math.ceil(fitted / trial_batch_size(fitted)) * trial_epochs(phase.epochs)
        seconds["heads"] = heads_tried(dataset.classes) * steps * speed.head_step
    if fine_tunes:
        steps = math.ceil(train / phase.batch_size)
        seconds["warm-up"] = phase.epochs * (steps * speed.head_step + EPOCH_SECONDS)
    if fine_tunes and settings.unfreeze != "none":
        seconds["fine-tune"] = _fine_tune_seconds(speed, settings, images, cut)
    return seconds | {"the rest": OTHER_SECONDS}


def plan_settings(
    speed: Speed,
    settings: TrainingSettings,
    dataset: DatasetSummary,
    images: dict[str, int],
) -> tuple[TrainingSettings, str]:
    """(the settings with their defaults, reduced to what fits; the block whose input is cached)."""
    filled = fill_defaults(settings, dataset, fast_device=speed.fast_device)
    if filled.method == "features":
        filled = replace(filled, head=LINEAR_HEAD, unfreeze="none", views=1)
    store = open_store()
    room = store.room_for()
    for choice in cache_choices(filled, settings):
        if (needed := choice.bytes(images, speed.feature_bytes)) <= room:
            reduced = replace(filled, image_size=choice.image_size, views=choice.views)
            return reduced, choice.cut
    raise store.refusal(needed, room)


def _fine_tune_seconds(
    speed: Speed, settings: TrainingSettings, images: dict[str, int], cut: str
) -> float:
    phase, area = settings.fine_tune, (settings.image_size / SIDE) ** 2
    blocks = BLOCKS[BLOCKS.index(settings.unfreeze) :]
    forward = area * sum(speed.forward[block] for block in blocks)
    frozen = BLOCKS[BLOCKS.index(cut) : BLOCKS.index(settings.unfreeze)]  # run in each epoch
    below = area * sum(speed.forward[block] for block in frozen)
    parameters = sum(MILLION_PARAMETERS[block] for block in blocks)
    steps = math.ceil(images["train"] / phase.batch_size)
    epoch = images["train"] * BACKWARD_FACTOR * forward + images["validation"] * forward
    epoch += (images["train"] + images["validation"]) * below
    epoch += steps * (speed.step * parameters + speed.head_step)
    return phase.epochs * (epoch + EPOCH_SECONDS)
