"""The two phases: warm up a new head, then fine-tune the body's upper blocks."""

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from transfer.events import EpochDone, Event, PhaseDone, PhaseStarted
from transfer.features.calibration import Calibration
from transfer.features.linear_probe import pooled
from transfer.machine.device import one_thread
from transfer.model.vgg import Network, build_head, parameter_count
from transfer.runs.phase_heads import PhaseHead
from transfer.settings import LINEAR_HEAD
from transfer.training.loop import NOT_FINITE, Phase, PhaseTrainer
from transfer.training.optim import BLOCK5_RATE, RATE_DECAY_PER_BLOCK
from transfer.training.resume import pack
from transfer.training.state import TrainingState

UNJUDGED = "too few validation images to show that it helps, so its start stays"


def warm_up(training: TrainingState) -> Iterator[Event]:
    """Only the head learns: the body is frozen, out of reach of a random head's gradients.

    A linear head starts as it was fitted, and stays so unless that is beaten. Another starts at
    random and must not end below that fit: if it does, the fit takes its place. Returns False where
    the loss did not stay finite.
    """
    head = training.network.head
    if training.settings.head == LINEAR_HEAD:
        head.load_state_dict(training.history.phase_heads["features"].tensors)
    else:
        head.standardise(pooled(head, training.features["train"]))
    done = yield from _train(training, "warm-up")
    return not done.ended.startswith(NOT_FINITE)


def fine_tune(training: TrainingState) -> Iterator[Event]:
    """The upper blocks learn too, at small rates that keep their filters close to where they were.

    (Discriminative rates as in ULMFiT, Howard & Ruder 2018.)
    """
    yield from _train(training, "fine-tune")


def make_phase(training: TrainingState, name: str, network: Network) -> Phase:
    """The phase of that name on `network`, of which it freezes what does not learn.

    Its data are there once the cache is filled.
    """
    settings, plan = training.settings, training.plan
    tunes = name == "fine-tune"
    phase = settings.fine_tune if tunes else settings.warm_up
    block = training.block_of(name)
    learns = network.freeze_below(settings.unfreeze if tunes else "none")
    return Phase(
        name=name,
        module=training.segment(network.between(block, "none"), network.head),
        learns=learns,
        groups=network.trainable_groups(
            phase.learning_rate, body_rate=BLOCK5_RATE, decay=RATE_DECAY_PER_BLOCK
        ),
        data=training.cached.get(block, {}),
        settings=phase,
        seed=settings.seed,
        target_accuracy=settings.target_accuracy,
        images_at_once=plan.at_once(block, training.accelerator.device),
        class_weights=training.class_weights if training.cached else None,
        bars=tuple(training.history.validations.values()),
        starts_fitted=not tunes and settings.head == LINEAR_HEAD,
        tunes_body=tunes,
        drift_from_now=partial(network.drift_from_now, learns),
        threads=nullcontext if tunes else one_thread,
    )


def _train(training: TrainingState, name: str) -> Iterator[Event]:
    """Train one phase, write checkpoints, and record what came of it; returns its PhaseDone."""
    network, history = training.network, training.history
    phase = make_phase(training, name, network)
    curve, checkpoint = [], None
    if training.earlier and training.earlier.phase == name:
        curve, checkpoint = training.earlier.curve, training.earlier.state
    else:
        yield PhaseStarted(
            phase=name,
            epochs=phase.settings.epochs,
            trainable=parameter_count(network, trainable=True),
            parameters=parameter_count(network),
            learns=phase.learns,
        )
    trainer = PhaseTrainer(phase, training.accelerator, checkpoint)
    for event in trainer.run(training.should_stop):
        if isinstance(event, EpochDone):
            curve.append(event)
            training.writer.save_checkpoint(partial(pack, training, name, curve, trainer.state))
        elif isinstance(event, PhaseDone):
            history.validations[name], taken = trainer.validation, event.best_epoch
            if name == "warm-up" and any(bar.beats(trainer.validation) for bar in phase.bars):
                event, taken = _fitted_instead(training, event), None
            elif event.epochs and not taken:
                why = UNJUDGED if phase.cannot_be_judged else "no epoch was better than its start"
                event = replace(event, ended=f"{event.ended}; {why}")
            # which epoch is the best so far was only a message; the record says which one is saved
            curve = [replace(epoch, best=epoch.epoch == taken) for epoch in curve]
            history.phase_heads[name] = PhaseHead.of(network.head, training.settings.head)
            before = [*history.calibrations.values()][-1]
            moved = event.best_epoch > 0
            history.calibrations[name] = Calibration.of(trainer.validation) if moved else before
            training.record_phase(event, curve, network.head)
        yield event
    return event


def _fitted_instead(training: TrainingState, done: PhaseDone) -> PhaseDone:
    """Put the fitted linear head in the place of one that ended below it."""
    settings, network, history = training.settings, training.network, training.history
    classes = len(training.images.classes)
    head = build_head(network.features, LINEAR_HEAD, settings.image_size, classes, settings.seed)
    head.load_state_dict(history.phase_heads["features"].tensors)
    network.head = head.to(training.accelerator.device)
    training.settings = replace(settings, head=LINEAR_HEAD)
    fitted = history.validations["features"]
    history.validations["warm-up"] = copy.deepcopy(fitted)
    return replace(
        done,
        best_epoch=0,
        accuracy=fitted.accuracy,
        loss=fitted.loss,
        ended=f"{done.ended}; the fitted linear classifier did better and takes its place",
    )
