"""How long a phase and the cache will take here, measured on a few steps before they begin."""

import copy
import time
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import nn

from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.transform import Transform
from transfer.device import DTYPES, images_a_batch
from transfer.features.cached_dataset import CacheLayer
from transfer.features.extract import passes_left, seconds_a_pass
from transfer.features.plan import Plan, widest
from transfer.model.vgg import Network, Segment
from transfer.settings import PhaseSettings
from transfer.training.optim import make_optimizer
from transfer.training.step import TrainStep, copied, train_mode, validate


def seconds_a_step(
    accelerator: Accelerator,
    module: nn.Module,
    groups: list[dict],
    settings: PhaseSettings,
    inputs: torch.Tensor,
) -> tuple[float, float, float]:
    """Measured seconds of (one update, one validation) of a batch like `inputs`, and of what comes
    between two epochs. Changes the module.
    """
    optimizer = make_optimizer(settings.optimizer, groups, settings.weight_decay)
    trained, optimizer = accelerator.prepare(module, optimizer)
    update = TrainStep(accelerator, trained, optimizer, len(inputs))
    inputs = inputs.to(accelerator.device)
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=accelerator.device)
    train_mode(module)
    step = _quickest(lambda: update(inputs, labels))
    forward = _quickest(lambda: validate(accelerator, trained, [(inputs, labels)]))
    between = _quickest(lambda: copied(module))
    accelerator.free_memory()
    return step, forward, between


def _quickest(action: Callable) -> float:
    """Seconds of the quicker of two times, after a first one that is slower for good reasons."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        action()
        seconds.append(time.monotonic() - started)
    return min(seconds[1:])


def cache_seconds(plan: Plan, images: ImageDataset, store: Store, device: torch.device) -> float:
    """What filling the cache will take, from a few images of each kind; 0 where it is full."""
    seconds = 0.0
    left = passes_left(images, plan.spec, store)
    left["train"] += left.pop("validation")
    for split, passes in left.items():
        if passes:
            seconds += passes * seconds_a_pass(images, plan.spec, store, split, device)
    return seconds


def phase_seconds(
    network: Network,
    level: CacheLayer,
    settings: PhaseSettings,
    unfreeze: str,
    counts: dict[str, int],
    transform: Transform,
    accelerator: Accelerator,
    looks: int = 0,
) -> float:
    """What all epochs of a phase will take at most, from a few steps on random numbers.

    `level` is what the phase learns from, `looks` are validations after the last epoch; the network
    is copied and stays as it is.
    """
    network = copy.deepcopy(network)
    network.freeze_below(unfreeze)
    module = Segment(torch.nn.Sequential(network.tail(level.block), network.head), transform)
    images = images_a_batch(widest(level), accelerator.device, settings.batch_size)
    dtype = torch.uint8 if level.stage is None else DTYPES[accelerator.mixed_precision]
    with torch.random.fork_rng():
        inputs = 255 * torch.rand(images, *level.row_shape)
        step, forward, between = seconds_a_step(
            accelerator,
            module,
            network.trainable_groups(settings.learning_rate),
            settings,
            inputs.to(dtype),
        )
    an_image = {"train": step / images, "validation": forward / images}
    of = {name: s * counts[name] / accelerator.num_processes for name, s in an_image.items()}
    return settings.epochs * (sum(of.values()) + between) + looks * (of["validation"] + between)
