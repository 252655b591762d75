"""A stopwatch, and the estimate of how long the cache and each phase will take here."""

import time
from collections.abc import Callable

import torch
from accelerate import Accelerator

from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.others import OTHERS
from transfer.features.cached_dataset import CacheLayer
from transfer.features.extract import passes_left, seconds_a_pass
from transfer.features.plan import Plan
from transfer.machine.device import DTYPES
from transfer.training.loop import Phase
from transfer.training.optim import make_optimizer
from transfer.training.step import TrainStep, copied, prepared, train_mode, validate


def quickest(action: Callable[[], object], tries: int = 2, clock=None) -> float:
    """Seconds of the quickest try, after a first one that loads kernels and allocates memory."""
    clock = clock or time.monotonic
    action()
    seconds = []
    for _ in range(tries):
        started = clock()
        action()
        seconds.append(clock() - started)
    return min(seconds)


def cache_seconds(plan: Plan, images: ImageDataset, store: Store, device: torch.device) -> float:
    """How long filling the cache will take, from a few images of each kind; 0 if it is full."""
    left = passes_left(images, plan.spec, store)
    # in the same precision, so as fast
    left["train"] += left.pop("validation") + left.pop(OTHERS, 0)
    passes = ((split, number) for split, number in left.items() if number)
    return sum((n * seconds_a_pass(images, plan.spec, store, s, device) for s, n in passes), 0.0)


def phase_seconds(
    phase: Phase, layer: CacheLayer, counts: dict[str, int], accelerator: Accelerator
) -> float:
    """How long all epochs of a phase will take at most, from a few steps on random numbers.

    `layer` is what the phase learns from, `counts` the images of each split. Changes the module.
    """
    settings = phase.settings
    images = min(phase.images_at_once, settings.batch_size)
    dtype = torch.uint8 if layer.segment is None else DTYPES[accelerator.mixed_precision]
    with torch.random.fork_rng():
        inputs = 255 * torch.rand(images, *layer.row_shape)  # (images, C, H, W)
        step, forward, between = _seconds_a_step(phase, inputs.to(dtype), accelerator)
    share = 1 / (images * accelerator.num_processes)
    train = step * share * counts["train"]
    validation = forward * share * counts["validation"]
    # besides each epoch the start is validated, and in the end what is taken
    return settings.epochs * (train + validation + between) + 2 * (validation + between)


def _seconds_a_step(
    phase: Phase, inputs: torch.Tensor, accelerator: Accelerator
) -> tuple[float, float, float]:
    """Seconds of (one step, one validation) of a batch like `inputs`, and between two epochs."""
    module, settings = phase.module, phase.settings
    optimizer = make_optimizer(settings.optimizer, phase.groups, settings.weight_decay)
    trained, optimizer = prepared(module, accelerator), accelerator.prepare(optimizer)
    update = TrainStep(accelerator, trained, optimizer, len(inputs))
    inputs = inputs.to(accelerator.device)
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=accelerator.device)
    train_mode(module)
    with phase.threads():
        step = quickest(lambda: update(inputs, labels))
        forward = quickest(lambda: validate(accelerator, trained, [(inputs, labels)]))
    between = quickest(lambda: copied(module))
    accelerator.free_memory()
    return step, forward, between
