"""One epoch loop on Accelerate that serves both phases.

It never knows whether a batch is pixels or cached features: the module takes what the cache holds.
"""

import gc
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, set_seed
from torch import nn
from torch.utils.data import DataLoader

from transfer.device import choose_precision
from transfer.events import BatchDone, EpochDone, Event, PhaseDone
from transfer.features.cached_dataset import CachedDataset
from transfer.settings import PhaseSettings
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.phase_state import BestWeights, PhaseState, Tensors
from transfer.training.step import TrainStep, copied, train_mode, validate

SECONDS_BETWEEN_BATCH_EVENTS = 0.2
IMAGES_A_VALIDATION_BATCH = 128
STOPPED, NOT_FINITE = "stopped", "the loss was no longer finite; try a smaller learning rate"


def make_accelerator(seed: int, precision: str = "auto") -> Accelerator:
    """Device and arithmetic from the hardware, or as `accelerate launch` says; seeds everything.

    `precision` is auto, bf16, fp16 or fp32; see `choose_precision`. A process may train again in
    another one.
    """
    AcceleratorState._reset_state()
    if precision == "auto" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        accelerator = Accelerator()
    else:
        # as Accelerator would make it; from now on the processes know of each other
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        (chosen,) = broadcast_object_list([choose_precision(precision)])  # each measured for itself
        accelerator = Accelerator(mixed_precision=chosen)
    set_seed(seed)
    return accelerator


def run_phase(
    name: str,
    accelerator: Accelerator,
    module: nn.Module,
    groups: list[dict],
    data: dict[str, CachedDataset],
    settings: PhaseSettings,
    *,
    seed: int,
    target_accuracy: float | None,
    should_stop: Callable[[], bool],
    drift: Callable[[], dict[str, float]],
    at_once: int = IMAGES_A_VALIDATION_BATCH,
    start: tuple[float, float] | None = None,
    class_weights: torch.Tensor | None = None,
    between: bool = False,
    keep: Callable[[PhaseState, EpochDone], None] = lambda state, event: None,
    resumed: tuple[dict, Tensors] | None = None,
) -> Iterator[Event]:
    """Train `groups` of `module` on data["train"] and keep the best epoch (see `Best`).

    The state at the start stands as epoch 0, so a phase never ends below where it began; `start`
    is its (loss, accuracy) on validation where they are known already. It ends at the epoch limit,
    after `patience` epochs without a better one, at the target accuracy, at a loss that is not
    finite, or within one batch of `should_stop`. At most `at_once` images are in memory; a larger
    batch adds up the gradients of its parts. `class_weights` float32 (classes,), of mean 1 over the
    training images, weigh every loss. With `between`, a phase that ran to its end also looks at
    weights between its start and its best epoch. `keep` may pack the state after each epoch, before
    that is told; a phase `resumed` from what was packed goes on as if it had never been cut off.
    Yields BatchDone and EpochDone, then PhaseDone.
    """
    order = torch.Generator().manual_seed(seed)
    loader = _loader(data["train"], settings.batch_size, accelerator, order)
    validation = _loader(data["validation"], min(at_once, IMAGES_A_VALIDATION_BATCH), accelerator)
    optimizer = make_optimizer(settings.optimizer, groups, settings.weight_decay)
    trained, optimizer, loader, validation = accelerator.prepare(
        module, optimizer, loader, validation
    )
    steps = settings.epochs * len(loader)
    schedule = make_schedule(optimizer, steps)
    weights = None if class_weights is None else class_weights.to(accelerator.device)
    update = TrainStep(accelerator, trained, optimizer, at_once, weights)
    judge = partial(validate, accelerator, trained, validation, weights)
    state = PhaseState(module=module, optimizer=optimizer, order=order, scaler=accelerator.scaler)
    started = time.monotonic()

    def told(loss, validated, since, left) -> EpochDone:
        event = _epoch_done(name, state, settings, loss, validated, since, left, drift())
        state.accuracy, state.seconds = validated[1], time.monotonic() - started
        keep(state, event)
        return event

    if resumed is None:
        validated = start or judge()
        state.best = BestWeights(start_accuracy=validated[1], first=copied(module))
        state.best.offer(0, *validated, module, wanted=False)
        yield told(None, validated, started, 0.0)
    else:
        state.restore(*resumed)
        started -= state.seconds
    best = state.best
    ended = _reason_to_end(state, settings, target_accuracy)
    while not ended:
        state.epoch += 1
        epoch_started, total_loss, told_at = time.monotonic(), 0.0, 0.0
        train_mode(module)
        for batch, (inputs, labels) in enumerate(loader, 1):
            schedule.step_update(state.step)
            batch_loss = update(inputs, labels)
            state.step += 1
            total_loss += batch_loss
            if not math.isfinite(batch_loss):
                break
            if should_stop():
                ended = STOPPED
                break
            if time.monotonic() - told_at > SECONDS_BETWEEN_BATCH_EVENTS:
                told_at = time.monotonic()
                yield BatchDone(
                    phase=name,
                    epoch=state.epoch,
                    done=batch,
                    total=len(loader),
                    seconds_left=_seconds_left(state.step, steps, started),
                )
        validated = judge()
        if not math.isfinite(total_loss + validated[0]):
            ended = NOT_FINITE
            break
        reached = _reaches(validated[1], target_accuracy)
        best.offer(state.epoch, *validated, module, wanted=reached)
        left = _seconds_left(state.step, steps, started)
        yield told(total_loss / batch, validated, epoch_started, left)
        ended = ended or _reason_to_end(state, settings, target_accuracy)
    if (
        between
        and ended not in (STOPPED, NOT_FINITE)
        and not _reaches(best.accuracy, target_accuracy)
    ):
        best.offer_between(module, judge)
    module.load_state_dict(best.state)
    # what `prepare` put around it would let it compute in low precision for good
    accelerator.unwrap_model(trained, keep_fp32_wrapper=False)
    yield PhaseDone(
        phase=name,
        epochs=state.epoch,
        best_epoch=best.epoch,
        share=best.share,
        loss=-best.score[1],
        accuracy=best.accuracy,
        seconds=time.monotonic() - started,
        ended=ended,
    )
    accelerator.free_memory()


def _loader(data: CachedDataset, batch_size: int, accelerator: Accelerator, order=None):
    """Whole batches by row; the images are shared among the processes. `order` shuffles them."""
    return DataLoader(
        data,
        batch_size=max(1, batch_size // accelerator.num_processes),
        shuffle=order is not None,
        generator=order,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch):
    return batch


def _reason_to_end(state: PhaseState, settings: PhaseSettings, target: float | None) -> str:
    """Why the phase ends here, or nothing."""
    if _reaches(state.accuracy, target):
        return _target_reached(target)
    if state.epoch >= settings.epochs:
        return "epoch limit"
    if settings.patience and state.epoch - state.best.epoch >= settings.patience:
        return f"no better epoch in {settings.patience}"
    return ""


def _target_reached(target: float | None) -> str:
    return f"target accuracy {target} reached on validation"


def _reaches(accuracy: float, target: float | None) -> bool:
    return target is not None and accuracy >= target


def _seconds_left(step: int, steps: int, started: float) -> float:
    return (time.monotonic() - started) / max(step, 1) * (steps - step)


def _epoch_done(
    name, state: PhaseState, settings, loss, validated, started, left, drift
) -> EpochDone:
    return EpochDone(
        phase=name,
        epoch=state.epoch,
        epochs=settings.epochs,
        loss=loss,
        validation_loss=validated[0],
        validation_accuracy=validated[1],
        best=state.best.epoch == state.epoch,
        seconds=time.monotonic() - started,
        seconds_left=left,
        drift=drift,
    )


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Collections in here look only at what came up since it began.

    Accelerate collects after each phase and each measured step; looking through all that the
    imported libraries hold would take longer than a phase on cached features.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
