"""The spine: load, cache, warm up, unfreeze, fine-tune, evaluate, save; one call each."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from transfer.errors import SourceError
from transfer.evaluation import predict
from transfer.events import (
    CacheFilled,
    DatasetReady,
    EpochDone,
    Event,
    PhaseDone,
    PhaseStarted,
    RunSaved,
    WeightsChosen,
)
from transfer.features import Cached, cache_features, cache_pixels, check_disk, choose_cut
from transfer.linear import fit_linear, pooled
from transfer.network import Network, Stage, build_network, original_head_parameters
from transfer.network import parameter_count as count
from transfer.record import Record, image_counts, library_versions
from transfer.run_folder import Run, RunBuilder, changed_tensors
from transfer.settings import HeadSettings, TrainingSettings
from transfer.source import LabelledImages, glance, open_source
from transfer.training import check_optimizer, make_accelerator, run_phase
from transfer.transform import Transform
from transfer.weights import Body, find_body

BLOCK5_RATE = 1.0
RATE_DECAY_A_BLOCK = 0.5
LINEAR_HEAD = HeadSettings(pooling="avg", hidden=(), dropout=0.0)


def train(source: str, *, out: str | Path, **options) -> Run:
    """Train and return the finished run; `options` are those of `training_events`."""
    with closing(training_events(source, out=out, **options)) as events:
        while True:
            try:
                next(events)
            except StopIteration as end:
                return end.value


def training_events(
    source: str,
    *,
    out: str | Path,
    should_stop: Callable[[], bool] = lambda: False,
    **options,
) -> Iterator[Event]:
    """Train a head, then the body's upper blocks, on a source; yields events, returns the Run.

    `options` are the fields of `TrainingSettings` and the command line's flat names (`head_epochs`,
    `finetune_epochs`, `head_lr`, `finetune_lr`, `optimizer`). `should_stop` ends the phase within
    one batch and keeps what was learned; closing the generator cancels and leaves nothing behind.
    Raises TransferError.
    """
    settings = TrainingSettings.from_options(**options)
    for phase in (settings.warm_up, settings.fine_tune):
        check_optimizer(phase.optimizer or "adamw")
    accelerator = make_accelerator(settings.seed)
    with RunBuilder(out, writes=accelerator.is_main_process) as builder:
        training = yield from _load(str(source), settings, builder, accelerator)
        yield from _cache(training)
        yield from _fit_linear(training)
        if settings.method == "finetune":
            yield from _warm_up(training, should_stop)
            if settings.unfreeze != "none" and not should_stop():
                yield from _fine_tune(training, should_stop)
        return (yield from _save(training))


@dataclass(kw_only=True)
class _Training:
    """What the steps hand to each other.

    `cut` is the block whose input is cached at the border: below it the network never runs again.
    """

    builder: RunBuilder
    accelerator: Accelerator
    settings: TrainingSettings
    body: Body
    images: LabelledImages
    network: Network
    transform: Transform
    cut: str = "none"
    border: dict[str, Cached] = field(default_factory=dict)
    features: dict[str, Cached] = field(default_factory=dict)
    record: Record = field(default_factory=Record)

    def stage(self, *layers: torch.nn.Module) -> Stage:
        return Stage(torch.nn.Sequential(*layers), self.transform)


def _load(source: str, settings: TrainingSettings, builder: RunBuilder, accelerator: Accelerator):
    record = Record()
    images = open_source(source, settings)
    body = find_body(settings.weights, settings.architecture, settings.seed)
    yield WeightsChosen(weights=body.weights, reason=body.reason)
    accelerator.wait_for_everyone()  # until then the run folder may not be there
    fast_device = accelerator.device.type != "cpu"
    settings = settings.suited_to(glance(images), body.weights, fast_device=fast_device)
    if settings.method == "features":
        settings = replace(settings, head=LINEAR_HEAD, unfreeze="none", views=1)
    return _Training(
        builder=builder,
        accelerator=accelerator,
        settings=settings,
        body=body,
        images=images,
        network=_build(settings, body, images).to(accelerator.device),
        transform=Transform(image_size=settings.image_size),
        record=record,
    )


def _build(settings: TrainingSettings, body: Body, images: LabelledImages) -> Network:
    return build_network(
        architecture=settings.architecture,
        body=body.tensors,
        head=settings.head,
        image_size=settings.image_size,
        classes=len(images.classes),
        seed=settings.seed,
    )


def _cache(training: _Training) -> Iterator[Event]:
    """Read every image once, then run once over it what stays frozen."""
    started = time.monotonic()
    pixels = yield from _read_pixels(training)
    settings, network = training.settings, training.network
    training.cut = choose_cut(network, settings.unfreeze, pixels, training.builder.checkpoint)
    prefix, rest = network.prefix(training.cut), network.tail(training.cut)
    training.border = yield from _through(training, pixels, prefix, "border")
    training.features = yield from _through(training, training.border, rest, "features")
    levels = (pixels, training.border, training.features)
    megabytes = sum({id(c.inputs): c.megabytes for x in levels for c in x.values()}.values())
    training.record.add_cache(time.monotonic() - started)
    yield CacheFilled(
        images=sum(map(len, pixels.values())),
        megabytes=megabytes,
        seconds=time.monotonic() - started,
    )


def _read_pixels(training: _Training):
    settings, images, folder = training.settings, training.images, training.builder.checkpoint
    bytes_an_image = 3 * settings.image_size**2
    check_disk(folder, sum(images.counts().values()) * settings.views * bytes_an_image)
    pixels, problems = yield from cache_pixels(
        images.splits,
        training.transform,
        settings.views,
        settings.seed,
        folder,
        training.accelerator,
    )
    training.images = images = images.with_splits(images.splits, *problems)
    left = np.bincount(pixels["train"].labels, minlength=len(images.classes))
    if (left == 0).any():
        name = images.classes[int(left.argmin())]
        raise SourceError(
            f"expected images to train on in every class, found none that can be read in {name!r}; "
            "add images, or run inspect to see why"
        )
    yield DatasetReady(
        source=images.source,
        classes=list(images.classes),
        images={name: len(cached) for name, cached in pixels.items()},
        skipped=[vars(problem) for problem in images.problems],
        settings=settings.to_json(),
    )
    return pixels


def _through(training: _Training, cached: dict[str, Cached], layers, stage: str):
    """Features behind `layers`, or what was cached already where there is no layer between."""
    if len(layers) == 0:
        return cached
    return (
        yield from cache_features(
            cached, training.stage(layers), stage, training.builder.checkpoint, training.accelerator
        )
    )


def _fit_linear(training: _Training) -> Iterator[Event]:
    """Feature extraction: the result of `--method features`, else the bar for what follows."""
    started = time.monotonic()
    network = training.network
    if training.settings.method == "finetune":
        linear = replace(training.settings, head=LINEAR_HEAD)
        network = _build(linear, training.body, training.images)
    head = network.head.cpu()
    yield PhaseStarted(
        phase="features",
        epochs=0,
        trainable=count(head),
        parameters=count(network),
        learns=["head"],
    )
    accuracy = fit_linear(head, training.features, training.settings.seed)
    done = PhaseDone(
        phase="features",
        epochs=0,
        best_epoch=0,
        accuracy=accuracy,
        seconds=time.monotonic() - started,
        ended="logistic regression fitted",
    )
    _judge(training, done, [], training.stage(head), training.features["test"])
    yield done


def _warm_up(training: _Training, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """The body is frozen, so that a cold head's gradients cannot wreck it; the head learns."""
    network, rate = training.network, training.settings.warm_up.learning_rate
    network.head.standardise(pooled(network.head, training.features["train"]))
    learns = network.freeze_below("none")
    groups = network.trainable_groups(rate)
    module = training.stage(network.head)
    yield from _learn(training, "warm-up", module, training.features, learns, groups, should_stop)


def _fine_tune(training: _Training, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Unfrozen from the chosen block up; small rates, smaller the lower, keep the filters close."""
    network, rate = training.network, training.settings.fine_tune.learning_rate
    learns = network.freeze_below(training.settings.unfreeze)
    groups = network.trainable_groups(rate, BLOCK5_RATE, RATE_DECAY_A_BLOCK)
    module = training.stage(network.tail(training.cut), network.head)
    yield from _learn(training, "fine-tune", module, training.border, learns, groups, should_stop)


def _learn(training, name, module, data, learns, groups, should_stop) -> Iterator[Event]:
    settings = training.settings
    phase = settings.warm_up if name == "warm-up" else settings.fine_tune
    yield PhaseStarted(
        phase=name,
        epochs=phase.epochs,
        trainable=count(training.network, trainable=True),
        parameters=count(training.network),
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
        drift=training.network.drift_from_now(learns),
    ):
        if isinstance(event, EpochDone):
            curve.append(event)
        elif isinstance(event, PhaseDone):
            _judge(training, event, curve, module, data["test"])
        yield event


def _judge(training, done: PhaseDone, curve, module: Stage, test: Cached) -> None:
    scores = predict(module, test, training.accelerator.device)
    training.record.add_phase(done, curve, scores, test.labels.numpy())


def _save(training: _Training):
    settings, images, network = training.settings, training.images, training.network
    test, record = training.features["test"], training.record
    report = record.report(images, test.labels.numpy(), test.names)
    counts = {name: len(cached) for name, cached in training.features.items()}
    result = record.result(
        report,
        run=str(training.builder.path),
        weights=training.body.weights,
        weights_reason=training.body.reason,
        classes=list(images.classes),
        images=image_counts(counts, len(images.problems)),
        head_parameters=count(network.head),
        original_head_parameters=original_head_parameters(settings.architecture),
    )
    written = {
        "classes": list(images.classes),
        "settings": settings.to_json(),
        "transform": training.transform.to_json(),
        "body": training.body.identity(),
        "source": images.source,
        "revision": images.revision,
        "seed": settings.seed,
        "phases": record.phases,
        "result": result,
        "versions": library_versions(),
    }
    tensors = changed_tensors(network, training.body.tensors)
    run = training.builder.finish(written, report, tensors)
    training.accelerator.wait_for_everyone()
    yield RunSaved(run=str(run.path), result=result)
    return run
