"""The two phases of the recipe: warm up a new head, then fine-tune the body's upper blocks.

Each is a generator of events on a Training.
"""

from collections.abc import Callable, Iterator
from functools import partial

from transfer.events import EpochDone, Event, PhaseDone, PhaseStarted
from transfer.features.linear_probe import pooled
from transfer.model.vgg import parameter_count as count
from transfer.runs.phase_heads import PhaseHead
from transfer.training.loop import run_phase
from transfer.training.phase_state import PhaseState, below, fitting
from transfer.training.resume import pack
from transfer.training.state import TrainingState

BLOCK5_RATE = 1.0
RATE_DECAY_A_BLOCK = 0.5


def take_up(training: TrainingState) -> Iterator[Event]:
    """Be where the training was when it was cut off; the phase then goes on by itself."""
    training.heads, training.record = training.earlier.heads, training.earlier.record
    yield training.earlier.resumed


def warm_up(training: TrainingState, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """The body is frozen, so that a cold head's gradients cannot wreck it; the head learns."""
    network, rate = training.network, training.settings.warm_up.learning_rate
    network.head.standardise(pooled(network.head, training.features["train"]))
    learns = network.freeze_below("none")
    groups = network.trainable_groups(rate)
    yield from _learn(training, "warm-up", "none", learns, groups, should_stop)


def fine_tune(training: TrainingState, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Unfrozen from the chosen block up; small rates, smaller the lower, keep the filters close."""
    network, rate = training.network, training.settings.fine_tune.learning_rate
    learns = network.freeze_below(training.settings.unfreeze)
    groups = network.trainable_groups(rate, BLOCK5_RATE, RATE_DECAY_A_BLOCK)
    yield from _learn(training, "fine-tune", training.plan.cut, learns, groups, should_stop)


def _learn(training, name, block, learns, groups, should_stop) -> Iterator[Event]:
    """One phase, on what is kept of the images where `block` begins."""
    settings, network, plan = training.settings, training.network, training.plan
    phase = settings.warm_up if name == "warm-up" else settings.fine_tune
    data = training.features if block == "none" else training.border
    module = training.stage(network.tail(block), network.head)
    curve, resumed = [], None
    if training.earlier and training.earlier.phase == name:
        curve, resumed = training.earlier.curve, training.earlier.state
        with fitting():
            module.load_state_dict(below("first", resumed[1]))  # drift is measured from there
    else:
        yield PhaseStarted(
            phase=name,
            epochs=phase.epochs,
            trainable=count(network, trainable=True),
            parameters=count(network),
            learns=learns,
        )

    def keep(state: PhaseState, event: EpochDone) -> None:
        curve.append(event)
        training.builder.keep(partial(pack, training, name, curve, state))

    for event in run_phase(
        name,
        training.accelerator,
        module,
        groups,
        data,
        phase,
        seed=settings.seed,
        target_accuracy=settings.target_accuracy,
        should_stop=should_stop,
        drift=network.drift_from_now(learns),
        at_once=plan.at_once(block, training.accelerator.device),
        start=training.reached,
        class_weights=training.class_weights,
        between=name == "fine-tune",
        keep=keep,
        resumed=resumed,
    ):
        if isinstance(event, PhaseDone):
            training.reached = (event.loss, event.accuracy)
            training.heads[name] = PhaseHead.of(network.head, settings.head)
            training.judge(event, curve, module, data["test"])
        yield event
