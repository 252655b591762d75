"""The recipe's first steps: plan, cache, fit the features, choose a head.

Each is a generator of events on a Training.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from transfer.errors import SourceError
from transfer.events import (
    CacheFilled,
    DatasetReady,
    Estimated,
    Event,
    HeadChosen,
    PhaseDone,
    PhaseStarted,
)
from transfer.features.extract import cache_levels, passes_left
from transfer.features.linear_probe import fit_linear
from transfer.features.plan import make_plan
from transfer.model.vgg import build_head
from transfer.model.vgg import parameter_count as count
from transfer.runs.phase_heads import PhaseHead
from transfer.settings import HeadSettings
from transfer.training.head_search import Candidate, try_heads
from transfer.training.phase_state import BETWEEN
from transfer.training.state import TrainingState, build
from transfer.training.timing import cache_seconds, phase_seconds

LINEAR_HEAD = HeadSettings(pooling="avg", hidden=(), dropout=0.0)


def plan_ahead(training: TrainingState) -> Iterator[Event]:
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
        fewer_views=training.asked.views is None and not training.earlier,
        decided=training.earlier and (training.earlier.cut, training.earlier.why),
    )
    training.settings = replace(settings, views=plan.spec.views)
    if training.earlier:
        return
    device = training.accelerator.device
    seconds = {"cache": cache_seconds(plan, images, training.store, device)}
    yield Estimated(seconds=seconds | _phase_seconds(training), cached=plan.why)


def _phase_seconds(training: TrainingState) -> dict[str, float]:
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


def fill_cache(training: TrainingState) -> Iterator[Event]:
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


def _check_classes(training: TrainingState) -> None:
    classes = training.images.classes
    left = np.bincount(training.features["train"].labels, minlength=len(classes))
    if (left == 0).any():
        raise SourceError(
            "expected images to train on in every class, found none that can be read in "
            f"{classes[int(left.argmin())]!r}; add images, or run inspect to see why"
        )


def fit_features(training: TrainingState) -> Iterator[Event]:
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
    training.heads["features"] = PhaseHead.of(head, LINEAR_HEAD)
    training.judge(done, [], training.stage(head), training.features["test"])
    yield done


def choose_head(training: TrainingState) -> Iterator[Event]:
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
        yield Estimated(seconds=_phase_seconds(training), cached=training.plan.why)


def _recorded(training: TrainingState, trials):
    """The same events; the table of heads goes into the report."""
    while True:
        try:
            event = next(trials)
        except StopIteration as end:
            return end.value
        if isinstance(event, HeadChosen):
            training.record.heads = event.tried
        yield event
