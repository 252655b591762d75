"""The epoch loop, on Accelerate; warm-up and fine-tune both use it.

It does not know whether a batch holds pixels or cached features: the phase's module takes either.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from transfer.events import BatchDone, EpochDone, Event, PhaseDone
from transfer.features.cached_dataset import CachedDataset
from transfer.features.validation import DIVERGED_LOSS, Validation
from transfer.runs.checkpoint import Checkpoint
from transfer.runs.run import STOPPED
from transfer.settings import PhaseSettings
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.phase_state import (
    BestWeights,
    PhaseState,
    Tensors,
    checkpoint_errors,
    unpacked,
)
from transfer.training.step import TrainStep, copied, prepared, train_mode, validate

SECONDS_BETWEEN_BATCH_EVENTS = 0.2
IMAGES_A_VALIDATION_BATCH = 128
# With 8 photos of each class for training and validation, tuned weights were 9 points less accurate
# than their start, with 20 photos 3 points more (means of 6 trainings, 2 or 3 classes).
FEWEST_TO_JUDGE = 5  # validation images
SHARES_BETWEEN = (0.75, 0.5, 0.25)
NOT_FINITE = "the loss was no longer finite; try a smaller learning rate"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What one phase trains, on what, and how.

    `module` takes what the splits of `data` (train, validation) hold. `learns` names the parts of
    the network that are not frozen, `groups` are their optimizer groups. At most `images_at_once`
    are in memory; a larger batch accumulates the gradients of its parts. `class_weights`, float32
    (classes,) with mean 1 over the training images, weight every loss. `bars` are earlier steps
    on the same validation images: the phase must not end below them. With `starts_fitted` the last
    bar is the start itself, which stays unless it is beaten. With `tunes_body` a phase whose last
    weights are not good enough tries those between its start and them. `drift_from_now` gives a
    function that says how far each part has moved since. Steps and validation run in `threads()`.
    """

    name: str
    module: nn.Module
    learns: list[str]
    groups: list[dict]
    data: dict[str, CachedDataset]
    settings: PhaseSettings
    seed: int
    target_accuracy: float | None = None
    images_at_once: int = IMAGES_A_VALIDATION_BATCH
    class_weights: torch.Tensor | None = None
    bars: tuple[Validation, ...] = ()
    starts_fitted: bool = False
    tunes_body: bool = False
    drift_from_now: Callable[[], Callable[[], dict[str, float]]] = lambda: dict
    threads: Callable[[], AbstractContextManager] = nullcontext

    @property
    def cannot_be_judged(self) -> bool:
        """Whether too few validation images could show that tuning the body does no harm."""
        return self.tunes_body and len(self.data["validation"]) < FEWEST_TO_JUDGE


class PhaseTrainer:
    """Trains a phase and leaves its module with the last weights that are good enough.

    The schedule ends in the last epoch, so its weights are the ones expected to be best; the
    validation images of a small dataset are too few to tell which epoch is. The last weights
    are taken unless the best epoch, or an earlier step, is better by more than chance. The start
    counts as epoch 0. `state` is complete at each EpochDone: what it packs then is a checkpoint.
    Given such a `checkpoint`, training continues as if it had never been interrupted. At the end
    `validation` is how the weights taken do.
    """

    def __init__(
        self, phase: Phase, accelerator: Accelerator, checkpoint: Checkpoint | None = None
    ):
        self.phase, self.accelerator, self.checkpoint = phase, accelerator, checkpoint
        settings = phase.settings
        order = torch.Generator().manual_seed(phase.seed)
        loader = _loader(phase.data["train"], settings.batch_size, accelerator, order)
        images = min(phase.images_at_once, IMAGES_A_VALIDATION_BATCH)
        held_out = _loader(phase.data["validation"], images, accelerator)
        optimizer = make_optimizer(settings.optimizer, phase.groups, settings.weight_decay)
        self.trained = prepared(phase.module, accelerator)
        optimizer, self.loader, self.held_out = accelerator.prepare(optimizer, loader, held_out)
        self.steps = settings.epochs * len(self.loader)
        self.schedule = make_schedule(optimizer, self.steps)
        weights = phase.class_weights
        self.class_weights = None if weights is None else weights.to(accelerator.device)
        self.update = TrainStep(
            accelerator, self.trained, optimizer, phase.images_at_once, self.class_weights
        )
        self.state = PhaseState(
            module=phase.module, optimizer=optimizer, order=order, scaler=accelerator.scaler
        )
        self.started = time.monotonic()

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Yields BatchDone and EpochDone, then PhaseDone.

        The phase ends at the epoch limit, after `patience` epochs without a better one, at the
        target accuracy, at a loss that is not finite, or within one batch of `should_stop`.
        """
        yield from self._begin()
        phase, state = self.phase, self.state
        ended = self._reason_to_end()
        while not ended:
            state.epoch += 1
            epoch_started = time.monotonic()
            loss, stopped = yield from self._train_epoch(should_stop)
            validated = self._validate()
            if not math.isfinite(loss) or validated.loss >= DIVERGED_LOSS:
                ended = NOT_FINITE
                break
            state.best.update(state.epoch, validated, phase.module)
            yield self._epoch_done(loss, validated, epoch_started)
            ended = STOPPED if stopped else self._reason_to_end()
        epoch, share, self.validation = self._settle(ended)
        # without the wrapper of `prepare`, which would keep autocasting the module's forward
        self.accelerator.unwrap_model(self.trained, keep_fp32_wrapper=False)
        yield PhaseDone(
            phase=phase.name,
            epochs=state.epoch,
            best_epoch=epoch,
            share=share,
            loss=self.validation.loss,
            accuracy=self.validation.accuracy,
            seconds=time.monotonic() - self.started,
            ended=ended,
        )
        self.accelerator.free_memory()

    def _begin(self) -> Iterator[EpochDone]:
        """Judge the weights at the start as epoch 0, or restore the checkpoint."""
        phase, state = self.phase, self.state
        if self.checkpoint:
            self._restore(*self.checkpoint)
        else:
            self.drift = phase.drift_from_now()
            validated = self._validate()
            state.best = BestWeights(first=copied(phase.module))
            state.best.update(0, validated, phase.module)
            yield self._epoch_done(None, validated, self.started)

    @checkpoint_errors()
    def _restore(self, record: dict, tensors: dict[str, torch.Tensor]) -> None:
        values = unpacked(record, tensors, self.accelerator.device)
        tensors.clear()  # else those that were copied would be in memory twice
        self.phase.module.load_state_dict(values["best"]["first"])
        self.drift = self.phase.drift_from_now()
        self.state.restore(values)
        self.started -= self.state.seconds

    def _train_epoch(self, should_stop: Callable[[], bool]) -> Iterator[BatchDone]:
        """Returns (mean loss in nats of the batches, whether it was stopped)."""
        state, total_loss, reported = self.state, 0.0, 0.0
        train_mode(self.phase.module)
        for batch, (inputs, labels) in enumerate(self.loader, 1):
            self.schedule.step_update(state.step)
            with self.phase.threads():
                total_loss += self.update(inputs, labels)
            state.step += 1
            stopped = should_stop()
            if stopped or not math.isfinite(total_loss):
                break
            if time.monotonic() - reported > SECONDS_BETWEEN_BATCH_EVENTS:
                reported = time.monotonic()
                yield BatchDone(
                    phase=self.phase.name,
                    epoch=state.epoch,
                    done=batch,
                    total=len(self.loader),
                    seconds_left=self._seconds_left(),
                )
        return total_loss / batch, stopped

    def _settle(self, ended: str) -> tuple[int, float, Validation]:
        """Load the weights that are taken; returns (epoch, share of the way to it, how they do)."""
        module, best = self.phase.module, self.state.best
        for epoch, share, weights in self._candidates(ended):
            module.load_state_dict(weights)
            validated = self._validate()
            last = epoch == self.state.epoch and share == 1.0
            if self._is_good_enough(validated) or (
                last and self._reaches_target(validated.accuracy)
            ):
                return epoch, share, validated
        module.load_state_dict(best.first)
        return 0, 1.0, self._validate()

    def _candidates(self, ended: str) -> Iterator[tuple[int, float, Tensors]]:
        """(epoch, share of the way to it, weights): the last ones, the best ones, and those between
        the start and the last. Interpolated weights are often better than both of these (WiSE-FT,
        Wortsman et al. 2022).
        """
        best, last = self.state.best, copied(self.phase.module)
        if ended != NOT_FINITE:
            yield self.state.epoch, 1.0, last
        yield best.epoch, 1.0, best.state
        if self.phase.tunes_body and ended not in (STOPPED, NOT_FINITE):
            for share in SHARES_BETWEEN:
                between = {name: best.first[name].lerp(last[name], share) for name in last}
                yield self.state.epoch, share, between

    def _is_good_enough(self, validated: Validation) -> bool:
        """Neither an earlier step nor the best epoch is better by more than chance; where the start
        is a fitted classifier, it must be beaten."""
        bars = self.phase.bars
        if self.phase.cannot_be_judged:
            return False
        if self.phase.starts_fitted and not validated.beats(bars[-1]):
            return False
        return not any(bar.beats(validated) for bar in (*bars, self.state.best.validation))

    def _validate(self) -> Validation:
        with self.phase.threads():
            return validate(self.accelerator, self.trained, self.held_out, self.class_weights)

    def _reason_to_end(self) -> str:
        """Why the phase ends here; empty where it does not."""
        settings, state = self.phase.settings, self.state
        if self._reaches_target(state.accuracy):
            return f"target accuracy {self.phase.target_accuracy} reached on validation"
        if state.epoch >= settings.epochs:
            return "epoch limit"
        if settings.patience and state.epoch - state.best.epoch >= settings.patience:
            return f"no better epoch in {settings.patience}"
        return ""

    def _reaches_target(self, accuracy: float) -> bool:
        target = self.phase.target_accuracy
        return target is not None and accuracy >= target

    def _seconds_left(self) -> float:
        elapsed, step = time.monotonic() - self.started, self.state.step
        return elapsed / max(step, 1) * (self.steps - step)

    def _epoch_done(self, loss: float | None, validated: Validation, since: float) -> EpochDone:
        state = self.state
        event = EpochDone(
            phase=self.phase.name,
            epoch=state.epoch,
            epochs=self.phase.settings.epochs,
            loss=loss,
            validation_loss=validated.loss,
            validation_accuracy=validated.accuracy,
            best=state.best.epoch == state.epoch,
            seconds=time.monotonic() - since,
            seconds_left=self._seconds_left() if state.epoch else 0.0,
            drift=self.drift(),
        )
        state.accuracy, state.seconds = validated.accuracy, time.monotonic() - self.started
        return event


def _loader(data: CachedDataset, batch_size: int, accelerator: Accelerator, order=None):
    """Batches taken by row, shared among the processes; `order` is the generator that shuffles.

    To a GPU they go from pinned memory, the next one while it computes (Accelerate fetches ahead).
    """
    return DataLoader(
        data,
        batch_size=max(1, batch_size // accelerator.num_processes),
        shuffle=order is not None,
        generator=order,
        pin_memory=accelerator.device.type == "cuda",
        collate_fn=lambda batch: batch,  # CachedDataset.__getitems__ has collated it
    )
