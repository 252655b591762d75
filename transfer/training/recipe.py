"""The recipe: load, cache, warm up, unfreeze and fine-tune, evaluate, save; one call each."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from transfer.events import Event, Resumed
from transfer.machine.processes import from_main_process, in_any_process
from transfer.runs.run import Run, run_path
from transfer.runs.writer import RunWriter, is_unfinished
from transfer.settings import TrainingSettings
from transfer.training.accelerator import gc_frozen, make_accelerator
from transfer.training.block_probes import probe_blocks
from transfer.training.cross_validation import cross_validate
from transfer.training.familiarity import learn_familiarity
from transfer.training.optim import check_optimizer
from transfer.training.phases import fine_tune, warm_up
from transfer.training.preparation import (
    choose_head,
    evaluate,
    fill_cache,
    fit_linear_probe,
    load,
    plan_cache,
    save,
)
from transfer.training.resume import find_checkpoint
from transfer.training.state import TrainingState


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
    """Train a head, then the body's upper blocks, on a dataset; yields events, returns the Run.

    Either `settings` are given, or `options`: the fields of `TrainingSettings` and the command
    line's flat names (`head_epochs`, `finetune_epochs`, `head_lr`, `finetune_lr`, `optimizer`).
    `should_stop` ends the phase within one batch and keeps what was learned; closing the generator
    cancels and removes everything. With `resume`, checkpoints are written into `out`, and an
    interrupted training there continues as if it had never been interrupted: on the same processor
    the curves are bit-identical. Raises TransferError.
    """
    settings = settings or TrainingSettings.from_options(**options)
    for phase in (settings.warm_up, settings.fine_tune):
        check_optimizer(phase.optimizer or "adamw")
    accelerator = make_accelerator(settings.seed, settings.precision)
    earlier = from_main_process(lambda: find_checkpoint(out, settings)) if resume else None
    if earlier:
        accelerator = make_accelerator(settings.seed, earlier.precision)
    if resume and not earlier and is_unfinished(run_path(out)):
        yield Resumed()
    writes = accelerator.is_main_process
    with RunWriter(out, writes=writes, resume=resume) as writer, gc_frozen():
        training = yield from load(str(source), settings, accelerator, earlier)
        training.writer = writer
        training.should_stop = partial(in_any_process, accelerator, should_stop)
        writer.reserve(training.result_bytes)
        yield from plan_cache(training)
        yield from fill_cache(training)
        if earlier:
            yield Resumed(phase=earlier.phase, epoch=earlier.curve[-1].epoch)
        else:
            yield from fit_linear_probe(training)
        if settings.method == "finetune":
            yield from _train_phases(training)
        familiarity, others_unknown = learn_familiarity(training)
        report = evaluate(training, familiarity, others_unknown)
        report |= yield from cross_validate(training)
        return (yield from save(training, report, familiarity))


def _train_phases(training: TrainingState) -> Iterator[Event]:
    """Choose a head, warm it up, fine-tune; a resumed training starts with its phase."""
    earlier = training.earlier
    if training.settings.try_heads and not earlier:
        yield from choose_head(training)
        training.writer.reserve(training.result_bytes)
    resumes_fine_tune = earlier is not None and earlier.phase == "fine-tune"
    learned = True
    if not resumes_fine_tune:
        learned = yield from warm_up(training)
    unfreezes = training.settings.unfreeze != "none" and learned and not training.should_stop()
    if unfreezes and not resumes_fine_tune:
        yield from probe_blocks(training)
    # a phase from a checkpoint is restored even if it stops at once: its weights are only there
    if resumes_fine_tune or unfreezes:
        yield from fine_tune(training)
