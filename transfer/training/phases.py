"""The two phases: warm up a new head, then fine-tune the body's upper blocks."""

from collections.abc import Iterator
from functools import partial

from transfer.events import EpochDone, Event, PhaseDone, PhaseStarted
from transfer.features.linear_probe import pooled
from transfer.model.vgg import Network, parameter_count
from transfer.runs.phase_heads import PhaseHead
from transfer.training.loop import Phase, PhaseTrainer
from transfer.training.optim import BLOCK5_RATE, RATE_DECAY_PER_BLOCK
from transfer.training.resume import pack
from transfer.training.state import TrainingState


def warm_up(training: TrainingState) -> Iterator[Event]:
    """Only the head learns: the body is frozen, out of reach of a random head's gradients."""
    head = training.network.head
    head.standardise(pooled(head, training.features["train"]))
    yield from _train(training, "warm-up")


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
    block = plan.cut if tunes else "none"
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
        start=training.history.validated,
        interpolate=tunes,
        drift_from_now=partial(network.drift_from_now, learns),
    )


def _train(training: TrainingState, name: str) -> Iterator[Event]:
    """Train one phase, write checkpoints, and record what came of it."""
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
            history.validated = (event.loss, event.accuracy)
            history.phase_heads[name] = PhaseHead.of(network.head, training.settings.head)
            training.record_phase(event, curve, phase.module, phase.data["test"])
        yield event
