"""The steps of the recipe around the two phases: load, cache, linear probe, head search, save."""

import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator

from transfer import events
from transfer.cache.store import open_store
from transfer.data.corrections import left_out, with_corrections
from transfer.data.others import OTHERS, with_others
from transfer.data.source import load_splits, summarize
from transfer.errors import SourceError, TransferError
from transfer.events import Event
from transfer.features.calibration import Calibration
from transfer.features.extract import cache_layers, passes_left
from transfer.features.fit import CHANNELS, FLOAT32_BYTES
from transfer.features.linear_probe import fit_linear
from transfer.features.plan import PlanRequest, make_plan
from transfer.formatting import byte_size
from transfer.machine.device import free_memory
from transfer.machine.processes import from_main_process
from transfer.model.vgg import (
    Network,
    build_head,
    build_network,
    original_head_parameters,
    parameter_count,
)
from transfer.model.weights import Body, find_body_with_progress
from transfer.runs.familiarity import FALSE_ALARMS, Familiarity, unknown_share
from transfer.runs.holdout import hash_of_tested
from transfer.runs.phase_heads import PhaseHead, pack_heads
from transfer.runs.run import changed_tensors
from transfer.settings import LINEAR_HEAD, TrainingSettings
from transfer.training.defaults import fill_defaults
from transfer.training.head_search import Candidate, try_heads
from transfer.training.history import TrainingHistory, library_versions
from transfer.training.phases import make_phase
from transfer.training.resume import ResumeState
from transfer.training.state import TrainingState
from transfer.training.timing import cache_seconds, phase_seconds

HEAD_COPIES = 7  # weights, gradients, two moments; the first, the best and the latest of a phase


def load(
    source: str, asked: TrainingSettings, accelerator: Accelerator, earlier: ResumeState | None
) -> Iterator[Event]:
    """Open the images, find the body, fill in the defaults; returns the TrainingState."""
    images = with_corrections(load_splits(source, asked), asked.corrections)
    images = with_others(images, asked.others)
    body = yield from find_body_with_progress(asked.weights, asked.architecture, asked.seed)
    yield events.WeightsChosen(weights=body.weights, reason=body.reason)
    accelerator.wait_for_everyone()  # the main process has created the run folder by now
    if earlier:
        earlier.check(images, body)
        settings = earlier.settings
    else:
        fast_device = accelerator.device.type != "cpu"
        settings = fill_defaults(asked, summarize(images), fast_device=fast_device)
    if settings.method == "features":
        settings = replace(settings, head=LINEAR_HEAD, unfreeze="none", views=1)
    return TrainingState(
        accelerator=accelerator,
        asked=asked,
        settings=settings,
        images=images,
        body=body,
        network=_build(settings, body, len(images.classes)).to(accelerator.device),
        history=earlier.history if earlier else TrainingHistory(),
        earlier=earlier,
    )


def _build(settings: TrainingSettings, body: Body, classes: int) -> Network:
    size, seed = settings.image_size, settings.seed
    return build_network(settings.architecture, body.tensors, settings.head, size, classes, seed)


def plan_cache(training: TrainingState) -> Iterator[Event]:
    """Choose what is cached of every image, and estimate how long everything will take."""
    settings, images, earlier = training.settings, training.images, training.earlier
    yield events.DatasetReady(
        source=images.source,
        classes=list(images.classes),
        images=images.counts(),
        skipped=[problem.to_json() for problem in images.problems],
        greys=[": ".join(line) for line in images.greys.lines()],
        settings=settings.to_json(),
    )
    store = open_store()
    request = PlanRequest(
        network=training.network,
        body=training.body.sha256,
        settings=settings,
        asked=settings if earlier else training.asked,
        images=images,
        accelerator=training.accelerator,
        decided=earlier and (earlier.cut, earlier.why),
    )
    training.plan = plan = make_plan(request, store)
    size = plan.spec.transform.image_size
    training.settings = replace(settings, views=plan.spec.views, image_size=size)
    if size != settings.image_size:
        network = _build(training.settings, training.body, len(images.classes))
        training.network = network.to(training.accelerator.device)
    _check_memory(training)
    if not earlier:
        cache = cache_seconds(plan, images, store, training.accelerator.device)
        yield events.Estimated(
            seconds={"cache": cache} | _all_phase_seconds(training), cached=plan.why
        )


def _check_memory(training: TrainingState) -> None:
    """Raises TransferError where less is free than the training will hold at least."""
    images, head = training.images.counts(), parameter_count(training.network.head)
    needed = FLOAT32_BYTES * (
        # the linear probe's pooled features
        CHANNELS["none"] * (images["train"] + images["validation"])
        + len(training.images.classes) * images["test"]  # scores
        + HEAD_COPIES * head
    )
    free = free_memory(torch.device("cpu"))
    if needed > free:
        raise TransferError(
            f"expected {byte_size(needed)} of memory for {sum(images.values()):,} images and a "
            f"head of {head:,} parameters, found {byte_size(free)}; close other programs, or pass "
            "--limit-per-class or a smaller --head"
        )


def _all_phase_seconds(training: TrainingState) -> dict[str, float]:
    """Phase → the seconds that it will take at most."""
    settings = training.settings
    names = ["warm-up"] if settings.method == "finetune" else []
    names += ["fine-tune"] if settings.unfreeze != "none" else []
    return {name: _phase_seconds(training, name) for name in names}


def _phase_seconds(training: TrainingState, name: str) -> float:
    """With the head as it is now."""
    phase = make_phase(training, name, copy.deepcopy(training.network))
    layer = training.plan.layer(training.plan.cut if name == "fine-tune" else "none")
    return phase_seconds(phase, layer, training.images.counts(), training.accelerator)


def fill_cache(training: TrainingState) -> Iterator[Event]:
    """Run the frozen part once over every image, unless its output is in the cache already."""
    started, images, plan, store = time.monotonic(), training.images, training.plan, open_store()
    computed = sum(passes_left(images, plan.spec, store).values())
    training.cached, problems = yield from cache_layers(
        images, plan.spec, store, training.accelerator, plan.rows_a_batch
    )
    without = left_out(training.settings.corrections)
    if without:
        training.cached = {
            block: {name: split.without(without) for name, split in splits.items()}
            for block, splits in training.cached.items()
        }
    training.images = images = images.with_splits(images.splits, *problems)
    left = np.bincount(training.features["train"].labels, minlength=len(images.classes))
    if not left.all():
        raise SourceError(
            "expected training images in every class, found none that can be read in "
            f"{images.classes[int(left.argmin())]!r}; add images, or run inspect to see why"
        )
    seconds = time.monotonic() - started
    if not training.earlier:
        cache = {"name": "cache", "epochs": 0, "seconds": seconds, "accuracy": None}
        training.history.phases.append(cache)
    yield events.CacheFilled(
        images={name: len(split) for name, split in training.features.items()},
        skipped=[problem.to_json() for problem in images.problems],
        computed=computed,
        megabytes=plan.spec.bytes(images.counts()) / 1e6,
        seconds=seconds,
    )


def fit_linear_probe(training: TrainingState) -> Iterator[Event]:
    """Logistic regression on the features: all of `--method features`, else a baseline."""
    started, settings, network = time.monotonic(), training.settings, training.network
    if settings.method == "finetune":  # its own network has another head
        linear = replace(settings, head=LINEAR_HEAD)
        network = _build(linear, training.body, len(training.images.classes))
    head = network.head.cpu()
    yield events.PhaseStarted(
        phase="features",
        epochs=0,
        trainable=parameter_count(head),
        parameters=parameter_count(network),
        learns=["head"],
    )

    def fitted():
        fit = fit_linear(head, training.features, settings.seed, training.class_weights)
        return fit, head.state_dict()

    fit, weights = from_main_process(fitted)
    head.load_state_dict(weights)
    training.history.strength = fit.strength
    done = events.PhaseDone(
        phase="features",
        epochs=0,
        best_epoch=0,
        accuracy=fit.validation.accuracy,
        loss=fit.validation.loss,
        seconds=time.monotonic() - started,
        ended="logistic regression fitted",
    )
    training.history.phase_heads["features"] = PhaseHead.of(head, LINEAR_HEAD)
    training.history.validations["features"] = fit.validation
    training.history.calibrations["features"] = Calibration.of(fit.out_of_fold)
    training.record_phase(done, [], head)
    yield done


def choose_head(training: TrainingState) -> Iterator[Event]:
    """Try several heads on the cached features and continue with the best one."""
    settings, asked, network = training.settings, training.asked.warm_up, training.network
    make_head = partial(
        build_head,
        network.features,
        image_size=settings.image_size,
        classes=len(training.images.classes),
        seed=settings.seed,
    )
    first = Candidate(head=settings.head, warm_up=settings.warm_up)
    vary = ["learning_rate"] if asked.learning_rate is None else []
    vary += ["optimizer"] if vary and asked.optimizer is None else []
    found = None
    if training.accelerator.is_main_process:
        found = yield from try_heads(
            first,
            training.history.strength,
            training.features,
            make_head,
            seed=settings.seed,
            vary=vary,
            class_weights=training.class_weights,
        )
    best, chosen = from_main_process(lambda: found)
    training.history.heads = chosen.tried
    training.settings = replace(settings, head=best.head, warm_up=best.warm_up)
    if best != first:
        network.head = make_head(best.head).to(training.accelerator.device)
        seconds = {"warm-up": _phase_seconds(training, "warm-up")}  # a head hardly slows fine-tune
        yield events.Estimated(seconds=seconds, cached=training.plan.why)


def evaluate(
    training: TrainingState, familiarity: Familiarity, others_unknown: float | None = None
) -> dict:
    """The report on the test images, as in report.json; they decided nothing before."""
    test = training.features["test"]
    unknown = {
        "expected": FALSE_ALARMS,
        "found": unknown_share(familiarity.of(training.test_outputs)),
    }
    if others_unknown is not None:
        unknown["others"] = {"images": len(training.features[OTHERS]), "found": others_unknown}
    report = training.history.report(training.images, test.labels.numpy(), test.names)
    return report | {"unknown": unknown}


def save(training: TrainingState, report: dict, familiarity: Familiarity) -> Iterator[Event]:
    """Write the run, with calibrated heads; returns it."""
    settings, images, history = training.settings, training.images, training.history
    counts = {name: len(training.features[name]) for name in ("train", "validation", "test")}
    result = history.result(
        report,
        run=str(training.writer.path),
        weights=training.body.weights,
        weights_reason=training.body.reason,
        classes=list(images.classes),
        images=counts | {"skipped": images.skipped()},
        head_parameters=parameter_count(training.network.head),
        original_head_parameters=original_head_parameters(settings.architecture),
    )
    record = {
        "classes": list(images.classes),
        "settings": settings.to_json(),
        "transform": training.transform.to_json(),
        "body": training.body.identity(),
        "source": images.source,
        "revision": images.revision,
        "tested_on": hash_of_tested(images),
        "seed": settings.seed,
        "phases": history.phases,
        "result": result,
        "calibration": vars(history.calibration),
        "versions": library_versions(),
    }
    training.network.head.temper(history.calibration.temperature)
    tensors = changed_tensors(training.network, training.body.tensors)
    *earlier, _ = history.phase_heads  # the last head is the run's own
    heads = {
        phase: history.phase_heads[phase].tempered(history.calibrations[phase].temperature)
        for phase in earlier
    }
    run = training.writer.finish(
        record,
        report,
        tensors,
        stages=pack_heads(heads) if heads else b"",
        familiarity=familiarity.pack(),
    )
    training.accelerator.wait_for_everyone()
    yield events.RunSaved(run=str(run.path), result=result)
    return run
