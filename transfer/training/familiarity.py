"""Learns, after the last phase, what the training photos look like to the finished network."""

import numpy as np

from transfer.data.others import OTHERS
from transfer.data.splits import stratified_rows
from transfer.machine.processes import from_main_process
from transfer.runs.familiarity import MOST_REFERENCES, Familiarity, unknown_share
from transfer.training.state import TrainingState
from transfer.training.step import averaged_outputs

FOLDS = 5


def learn_familiarity(training: TrainingState) -> tuple[Familiarity, float | None]:
    """(from the plain views of at most MOST_REFERENCES training photos, as many for validation,
    which tell how similar to those a new one is, and all photos of other things; the share of the
    latter that is unknown, each judged by the rest of them, or None without any)."""
    return from_main_process(lambda: _learn(training))


def _learn(training: TrainingState) -> tuple[Familiarity, float | None]:
    phase, outputs = training.history.phases[-1]["name"], {}
    cached, names = training.cached[training.block_of(phase)], {}
    body = training.body_of(phase)
    for split in (name for name in cached if name != "test"):
        labels = cached[split].labels.numpy()
        rows = stratified_rows(labels, MOST_REFERENCES, training.settings.seed)
        outputs[split] = averaged_outputs(body, cached[split], rows, training.accelerator)
        names[split] = tuple(cached[split].names[row] for row in rows)
    known, others = (outputs["train"], outputs["validation"]), outputs.get(OTHERS)
    familiarity = Familiarity.learn(*known, names["train"], others)
    return familiarity, None if others is None else _others_unknown(*known, others)


def _others_unknown(trained: np.ndarray, held_out: np.ndarray, others: np.ndarray) -> float:
    """Of the photos of other things, each fold judged by what is learned from the other folds."""
    fold, found = np.arange(len(others)) % FOLDS, []
    for i in range(FOLDS):
        familiarity = Familiarity.learn(trained, held_out, others=others[fold != i])
        found.append(familiarity.of(others[fold == i]))
    return unknown_share(np.concatenate(found))
