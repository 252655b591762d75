"""One epoch loop on Accelerate that serves both phases.

It never knows whether a batch is pixels or cached features: the module takes what the cache holds.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader

from transfer.events import BatchDone, EpochDone, Event, PhaseDone
from transfer.features import Cached
from transfer.hardware import choose_precision
from transfer.optimizers import make_optimizer, make_schedule
from transfer.settings import PhaseSettings
from transfer.step import Update, copied, train_mode, validate

SECONDS_BETWEEN_BATCH_EVENTS = 0.2
IMAGES_A_VALIDATION_BATCH = 128
BETWEEN = (0.25, 0.5, 0.75)
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
        accelerator = Accelerator(mixed_precision=choose_precision(precision))
    set_seed(seed)
    return accelerator


@dataclass(kw_only=True)
class _Best:
    """The kept state: not less accurate on validation than the phase's start, then of least loss.

    Loss decides because it is far less noisy than accuracy on the few images of a small set.
    `first` is the state at the start, `lowest` the trained epoch of least loss, whatever its
    accuracy; the kept state lies `share` of the way from the start to `epoch`.
    """

    start_accuracy: float
    first: dict[str, torch.Tensor]
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    score: tuple[float, float] = (-1.0, 0.0)
    accuracy: float = 0.0
    epoch: int = 0
    share: float = 1.0
    lowest: tuple[float, int, dict[str, torch.Tensor]] = (math.inf, 0, {})

    def offer(self, epoch: int, loss: float, accuracy: float, module: nn.Module, wanted: bool):
        """Keep this epoch if it is better, or if it is `wanted` whatever its loss."""
        if epoch and loss < self.lowest[0]:
            self.lowest = (loss, epoch, copied(module))
        self._offer(epoch, loss, accuracy, module, wanted)

    def offer_between(self, module: nn.Module, judge: Callable[[], tuple[float, float]]) -> None:
        """Keep a state between the start and the epoch of least loss if it is better than both.

        Weights between those before and after fine-tuning are often better than either (Wortsman
        et al. 2022). `judge` gives a module's loss and accuracy on validation.
        """
        _, epoch, last = self.lowest
        for share in BETWEEN if epoch else ():
            module.load_state_dict(
                {name: self.first[name].lerp(last[name], share) for name in last}
            )
            self._offer(epoch, *judge(), module, share=share)

    def _offer(self, epoch, loss, accuracy, module, wanted=False, share=1.0) -> None:
        score = (min(accuracy, self.start_accuracy), -loss)
        if score > self.score or wanted:
            self.score, self.accuracy, self.epoch, self.share = score, accuracy, epoch, share
            self.state = copied(module)


def run_phase(
    name: str,
    accelerator: Accelerator,
    module: nn.Module,
    groups: list[dict],
    data: dict[str, Cached],
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
) -> Iterator[Event]:
    """Train `groups` of `module` on data["train"] and keep the best epoch (see `_Best`).

    The state at the start stands as epoch 0, so a phase never ends below where it began; `start`
    is its (loss, accuracy) on validation where they are known already. It ends at the epoch limit,
    after `patience` epochs without a better one, at the target accuracy, at a loss that is not
    finite, or within one batch of `should_stop`. At most `at_once` images are in memory; a larger
    batch adds up the gradients of its parts. `class_weights` float32 (classes,), of mean 1 over the
    training images, weigh every loss. With `between`, a phase that ran to its end also looks at
    weights between its start and its best epoch. Yields BatchDone and EpochDone, then PhaseDone.
    """
    started = time.monotonic()
    loader = _loader(data["train"], settings.batch_size, accelerator, seed)
    validation = _loader(data["validation"], min(at_once, IMAGES_A_VALIDATION_BATCH), accelerator)
    optimizer = make_optimizer(settings.optimizer, groups, settings.weight_decay)
    trained, optimizer, loader, validation = accelerator.prepare(
        module, optimizer, loader, validation
    )
    schedule = make_schedule(optimizer, settings.epochs * len(loader))
    weights = None if class_weights is None else class_weights.to(accelerator.device)
    update = Update(accelerator, trained, optimizer, at_once, weights)
    loss, accuracy = start or validate(accelerator, trained, validation, weights)
    best = _Best(start_accuracy=accuracy, first=copied(module))
    best.offer(0, loss, accuracy, module, wanted=False)
    epoch, step = 0, 0
    yield _epoch_done(name, 0, settings, None, (loss, accuracy), best, started, 0.0, drift())
    ended = _reason_to_end(0, accuracy, settings, best, target_accuracy)
    while not ended:
        epoch += 1
        epoch_started, total_loss, told = time.monotonic(), 0.0, 0.0
        train_mode(module)
        for batch, (inputs, labels) in enumerate(loader, 1):
            schedule.step_update(step)
            batch_loss = update(inputs, labels)
            step += 1
            total_loss += batch_loss
            if not math.isfinite(batch_loss):
                break
            if should_stop():
                ended = STOPPED
                break
            if time.monotonic() - told > SECONDS_BETWEEN_BATCH_EVENTS:
                told = time.monotonic()
                left = _seconds_left(step, settings.epochs * len(loader), started)
                yield BatchDone(
                    phase=name, epoch=epoch, done=batch, total=len(loader), seconds_left=left
                )
        loss, accuracy = validate(accelerator, trained, validation, weights)
        if not math.isfinite(total_loss + loss):
            ended = NOT_FINITE
            break
        best.offer(epoch, loss, accuracy, module, wanted=_reaches(accuracy, target_accuracy))
        left = _seconds_left(step, settings.epochs * len(loader), started)
        train_loss = total_loss / batch
        yield _epoch_done(
            name, epoch, settings, train_loss, (loss, accuracy), best, epoch_started, left, drift()
        )
        ended = ended or _reason_to_end(epoch, accuracy, settings, best, target_accuracy)
    if (
        between
        and ended not in (STOPPED, NOT_FINITE)
        and not _reaches(best.accuracy, target_accuracy)
    ):
        best.offer_between(module, lambda: validate(accelerator, trained, validation, weights))
    module.load_state_dict(best.state)
    # what `prepare` put around it would let it compute in low precision for good
    accelerator.unwrap_model(trained, keep_fp32_wrapper=False)
    yield PhaseDone(
        phase=name,
        epochs=epoch,
        best_epoch=best.epoch,
        share=best.share,
        loss=-best.score[1],
        accuracy=best.accuracy,
        seconds=time.monotonic() - started,
        ended=ended,
    )
    accelerator.free_memory()


def _loader(data: Cached, batch_size: int, accelerator: Accelerator, seed: int | None = None):
    """Whole batches by row; the images are shared among the processes. A seed means shuffled."""
    order = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(
        data,
        batch_size=max(1, batch_size // accelerator.num_processes),
        shuffle=seed is not None,
        generator=order,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch):
    return batch


def _reason_to_end(
    epoch: int, accuracy: float, settings: PhaseSettings, best: _Best, target: float | None
) -> str:
    """Why the phase ends here, or nothing."""
    if _reaches(accuracy, target):
        return _target_reached(target)
    if epoch >= settings.epochs:
        return "epoch limit"
    if settings.patience and epoch - best.epoch >= settings.patience:
        return f"no better epoch in {settings.patience}"
    return ""


def _target_reached(target: float | None) -> str:
    return f"target accuracy {target} reached on validation"


def _reaches(accuracy: float, target: float | None) -> bool:
    return target is not None and accuracy >= target


def _seconds_left(step: int, steps: int, started: float) -> float:
    return (time.monotonic() - started) / max(step, 1) * (steps - step)


def _epoch_done(
    name, epoch, settings, loss, validated, best: _Best, started, left, drift
) -> EpochDone:
    return EpochDone(
        phase=name,
        epoch=epoch,
        epochs=settings.epochs,
        loss=loss,
        validation_loss=validated[0],
        validation_accuracy=validated[1],
        best=best.epoch == epoch,
        seconds=time.monotonic() - started,
        seconds_left=left,
        drift=drift,
    )
