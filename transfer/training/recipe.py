"""The spine: load, cache, warm up, unfreeze, fine-tune, evaluate, save; one call each."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from transfer.cache.store import open_store
from transfer.data.source import load_splits, summarize
from transfer.data.transform import Transform
from transfer.events import Event, Resumed, RunSaved, WeightsChosen
from transfer.model.vgg import original_head_parameters, parameter_count
from transfer.model.weights import finding_body
from transfer.runs.holdout import hash_of_tested
from transfer.runs.phase_heads import pack_heads
from transfer.runs.run import Run, changed_tensors
from transfer.runs.writer import RunWriter, is_unfinished
from transfer.settings import TrainingSettings
from transfer.training.defaults import fill_defaults
from transfer.training.history import TrainingHistory, image_counts, library_versions
from transfer.training.loop import gc_frozen, make_accelerator
from transfer.training.optim import check_optimizer
from transfer.training.phases import fine_tune, take_up, warm_up
from transfer.training.resume import ResumeState, find_earlier
from transfer.training.state import TrainingState, build
from transfer.training.steps import LINEAR_HEAD, choose_head, fill_cache, fit_features, plan_ahead


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
    resume: bool = False,
    settings: TrainingSettings | None = None,
    **options,
) -> Iterator[Event]:
    """Train a head, then the body's upper blocks, on a source; yields events, returns the Run.

    Either `settings` are given, or `options`: the fields of `TrainingSettings` and the command
    line's flat names (`head_epochs`, `finetune_epochs`, `head_lr`, `finetune_lr`, `optimizer`).
    `should_stop` ends the phase within
    one batch and keeps what was learned; closing the generator cancels and leaves nothing behind.
    With `resume` a checkpoint is kept in `out` while it trains, and one that was cut off there, in
    whatever way, goes on as if it had not been: the curves are the same to the bit on the same
    hardware. Raises TransferError.
    """
    settings = settings or TrainingSettings.from_options(**options)
    for phase in (settings.warm_up, settings.fine_tune):
        check_optimizer(phase.optimizer or "adamw")
    earlier = find_earlier(out, settings) if resume else None
    accelerator = make_accelerator(
        settings.seed, earlier.precision if earlier else settings.precision
    )
    if resume and not earlier and is_unfinished(Path(out).expanduser()):
        yield Resumed()
    writes = accelerator.is_main_process
    with RunWriter(out, writes=writes, resume=resume) as builder, gc_frozen():
        training = yield from _load(str(source), settings, builder, accelerator, earlier)
        yield from plan_ahead(training)
        yield from fill_cache(training)
        if earlier:
            yield from take_up(training)
        else:
            yield from fit_features(training)
        if settings.method == "finetune":
            if training.settings.try_heads and not earlier:
                yield from choose_head(training)
            tunes_already = earlier and earlier.phase == "fine-tune"
            if not tunes_already:
                yield from warm_up(training, should_stop)
            # what was cut off is taken up even to be stopped: the network is nothing without it
            if tunes_already or (training.settings.unfreeze != "none" and not should_stop()):
                yield from fine_tune(training, should_stop)
        return (yield from _save(training))


def _load(
    source: str,
    settings: TrainingSettings,
    builder: RunWriter,
    accelerator: Accelerator,
    earlier: ResumeState | None,
):
    record = TrainingHistory()
    images = load_splits(source, settings)
    body = yield from finding_body(settings.weights, settings.architecture, settings.seed)
    yield WeightsChosen(weights=body.weights, reason=body.reason)
    accelerator.wait_for_everyone()  # until then the run folder may not be there
    fast_device = accelerator.device.type != "cpu"
    asked = settings
    if earlier:
        earlier.check(images, body)
        settings = earlier.settings
    else:
        settings = fill_defaults(asked, summarize(images), body.weights, fast_device=fast_device)
    if settings.method == "features":
        settings = replace(settings, head=LINEAR_HEAD, unfreeze="none", views=1)
    return TrainingState(
        builder=builder,
        store=open_store(),
        accelerator=accelerator,
        asked=asked,
        settings=settings,
        earlier=earlier,
        body=body,
        images=images,
        network=build(settings, body, images).to(accelerator.device),
        transform=Transform(image_size=settings.image_size),
        record=record,
    )


def _save(training: TrainingState):
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
        images=image_counts(counts, images.skipped()),
        head_parameters=parameter_count(network.head),
        original_head_parameters=original_head_parameters(settings.architecture),
    )
    written = {
        "classes": list(images.classes),
        "settings": settings.to_json(),
        "transform": training.transform.to_json(),
        "body": training.body.identity(),
        "source": images.source,
        "revision": images.revision,
        "tested_on": hash_of_tested(images),
        "seed": settings.seed,
        "phases": record.phases,
        "result": result,
        "versions": library_versions(),
    }
    tensors = changed_tensors(network, training.body.tensors)
    earlier = dict(list(training.heads.items())[:-1])  # the last one is the run's own
    stages = pack_heads(earlier) if earlier else b""
    run = training.builder.finish(written, report, tensors, stages)
    training.accelerator.wait_for_everyone()
    yield RunSaved(run=str(run.path), result=result)
    return run
