"""The steps of the recipe: plan, cache, fit the features, choose a head, warm up, fine-tune.

Each is a generator of events on a Training, which carries what the steps hand to each other.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator

from transfer.errors import SourceError
from transfer.evaluation import predict
from transfer.events import (
    CacheFilled,
    DatasetReady,
    EpochDone,
    Estimated,
    Event,
    HeadChosen,
    PhaseDone,
    PhaseStarted,
)
from transfer.features import Cached
from transfer.filling import cache_levels, passes_left
from transfer.linear import fit_linear, pooled
from transfer.network import Network, Stage, build_head, build_network
from transfer.network import parameter_count as count
from transfer.plan import Plan, cache_seconds, make_plan, phase_seconds
from transfer.record import Record
from transfer.run_folder import RunBuilder
from transfer.search import Candidate, try_heads
from transfer.settings import HeadSettings, TrainingSettings
from transfer.source import LabelledImages
from transfer.stages import StageHead
from transfer.step import class_weights
from transfer.store import Store
from transfer.training import BETWEEN, run_phase
from transfer.transform import Transform
from transfer.weights import Body

BLOCK5_RATE = 1.0
RATE_DECAY_A_BLOCK = 0.5
LINEAR_HEAD = HeadSettings(pooling="avg", hidden=(), dropout=0.0)


@dataclass(kw_only=True)
class Training:
    """What the steps hand to each other.

    `asked` are the settings as they came, `settings` what was made of them. `border` is what is
    kept where the lowest unfrozen block begins, `features` what leaves the body. `reached` is the
    loss and accuracy on validation that the network has at present, `heads` those that it had after
    each stage.
    """

    builder: RunBuilder
    store: Store
    accelerator: Accelerator
    asked: TrainingSettings
    settings: TrainingSettings
    body: Body
    images: LabelledImages
    network: Network
    transform: Transform
    plan: Plan | None = None
    border: dict[str, Cached] = field(default_factory=dict)
    features: dict[str, Cached] = field(default_factory=dict)
    reached: tuple[float, float] | None = None
    heads: dict[str, StageHead] = field(default_factory=dict)
    record: Record = field(default_factory=Record)

    @property
    def class_weights(self) -> torch.Tensor | None:
        """What each class weighs in a loss, where they weigh differently."""
        if not self.settings.class_weights:
            return None
        return class_weights(self.features["train"].labels, len(self.images.classes))

    def stage(self, *layers: torch.nn.Module) -> Stage:
        return Stage(torch.nn.Sequential(*layers), self.transform)


def build(settings: TrainingSettings, body: Body, images: LabelledImages) -> Network:
    return build_network(
        architecture=settings.architecture,
        body=body.tensors,
        head=settings.head,
        image_size=settings.image_size,
        classes=len(images.classes),
        seed=settings.seed,
    )


def plan_ahead(training: Training) -> Iterator[Event]:
    """Choose what is kept of every image, and say how long all of it will take."""
    settings, images, network = training.settings, training.images, training.network
    yield DatasetReady(
        source=images.source,
        classes=list(images.classes),
        images=images.counts(),
        skipped=[problem.to_json() for problem in images.problems],
        settings=settings.to_json(),
    )
    training.plan = plan = make_plan(
        network,
        training.body.sha256,
        training.transform,
        settings,
        images,
        training.store,
        training.accelerator,
        fewer_views=training.asked.views is None,
    )
    training.settings = replace(settings, views=plan.spec.views)
    device = training.accelerator.device
    seconds = {"cache": cache_seconds(plan, images, training.store, device)}
    yield Estimated(seconds=seconds | _phase_seconds(training), kept=plan.why)


def _phase_seconds(training: Training) -> dict[str, float]:
    """Phase → seconds it will take at most, with the head as it is now."""
    settings, plan = training.settings, training.plan
    if settings.method == "features":
        return {}
    phases = {"warm-up": (settings.warm_up, "none", "none", 0)}
    if settings.unfreeze != "none":
        looks = len(BETWEEN)
        phases["fine-tune"] = (settings.fine_tune, settings.unfreeze, plan.cut, looks)
    return {
        name: phase_seconds(
            training.network,
            plan.level(block),
            phase,
            unfreeze,
            training.images.counts(),
            training.transform,
            training.accelerator,
            looks,
        )
        for name, (phase, unfreeze, block, looks) in phases.items()
    }


def fill_cache(training: Training) -> Iterator[Event]:
    """Run what stays frozen once over every image, unless an earlier training has done so."""
    started, images, plan = time.monotonic(), training.images, training.plan
    computed = sum(passes_left(images, plan.spec, training.store).values())
    cached, problems = yield from cache_levels(
        images, plan.spec, training.store, training.accelerator, plan.rows_a_batch
    )
    training.border, training.features = cached[plan.cut], cached["none"]
    training.images = images = images.with_splits(images.splits, *problems)
    _check_classes(training)
    training.record.add_cache(time.monotonic() - started)
    yield CacheFilled(
        images={name: len(split) for name, split in training.features.items()},
        skipped=[problem.to_json() for problem in images.problems],
        computed=computed,
        megabytes=plan.spec.bytes(images.counts()) / 1e6,
        seconds=time.monotonic() - started,
    )


def _check_classes(training: Training) -> None:
    classes = training.images.classes
    left = np.bincount(training.features["train"].labels, minlength=len(classes))
    if (left == 0).any():
        raise SourceError(
            "expected images to train on in every class, found none that can be read in "
            f"{classes[int(left.argmin())]!r}; add images, or run inspect to see why"
        )


def fit_features(training: Training) -> Iterator[Event]:
    """Feature extraction: the result of `--method features`, else the bar for what follows."""
    started = time.monotonic()
    network = training.network
    if training.settings.method == "finetune":
        linear = replace(training.settings, head=LINEAR_HEAD)
        network = build(linear, training.body, training.images)
    head = network.head.cpu()
    yield PhaseStarted(
        phase="features",
        epochs=0,
        trainable=count(head),
        parameters=count(network),
        learns=["head"],
    )
    settings = training.settings
    accuracy = fit_linear(head, training.features, settings.seed, balanced=settings.class_weights)
    done = PhaseDone(
        phase="features",
        epochs=0,
        best_epoch=0,
        accuracy=accuracy,
        seconds=time.monotonic() - started,
        ended="logistic regression fitted",
    )
    training.heads["features"] = StageHead.of(head, LINEAR_HEAD)
    _judge(training, done, [], training.stage(head), training.features["test"])
    yield done


def choose_head(training: Training) -> Iterator[Event]:
    """Try heads on the cached features and go on with the best, judged on validation."""
    settings, warm_up, network = training.settings, training.settings.warm_up, training.network
    make_head = partial(
        build_head,
        network.features,
        image_size=settings.image_size,
        classes=len(training.images.classes),
        seed=settings.seed,
    )
    first = Candidate(
        head=settings.head,
        learning_rate=warm_up.learning_rate,
        optimizer=warm_up.optimizer,
        weight_decay=warm_up.weight_decay,
        epochs=warm_up.epochs,
    )
    asked = training.asked.warm_up
    open_optimizer = asked.optimizer is None
    open_rate = asked.learning_rate is None
    best = yield from _recorded(
        training,
        try_heads(
            first,
            training.features,
            make_head,
            seed=settings.seed,
            rates=open_rate,
            optimizers=open_rate and open_optimizer,
            class_weights=training.class_weights,
        ),
    )
    learns = replace(warm_up, learning_rate=best.learning_rate, optimizer=best.optimizer)
    training.settings = replace(settings, head=best.head, warm_up=learns)
    if best != first:
        network.head = make_head(best.head).to(training.accelerator.device)
        yield Estimated(seconds=_phase_seconds(training), kept=training.plan.why)


def _recorded(training: Training, trials):
    """The same events; the table of heads goes into the report."""
    while True:
        try:
            event = next(trials)
        except StopIteration as end:
            return end.value
        if isinstance(event, HeadChosen):
            training.record.heads = event.tried
        yield event


def warm_up(training: Training, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """The body is frozen, so that a cold head's gradients cannot wreck it; the head learns."""
    network, rate = training.network, training.settings.warm_up.learning_rate
    network.head.standardise(pooled(network.head, training.features["train"]))
    learns = network.freeze_below("none")
    groups = network.trainable_groups(rate)
    yield from _learn(training, "warm-up", "none", learns, groups, should_stop)


def fine_tune(training: Training, should_stop: Callable[[], bool]) -> Iterator[Event]:
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
    yield PhaseStarted(
        phase=name,
        epochs=phase.epochs,
        trainable=count(network, trainable=True),
        parameters=count(network),
        learns=learns,
    )
    curve = []
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
    ):
        if isinstance(event, EpochDone):
            curve.append(event)
        elif isinstance(event, PhaseDone):
            training.reached = (event.loss, event.accuracy)
            training.heads[name] = StageHead.of(network.head, settings.head)
            _judge(training, event, curve, module, data["test"])
        yield event


def _judge(training, done: PhaseDone, curve, module: Stage, test: Cached) -> None:
    scores = predict(module, test, training.accelerator.device)
    training.record.add_phase(done, curve, scores, test.labels.numpy())
