"""Learns, after the last phase, what the training photos look like to the finished network."""

from transfer.data.splits import stratified_rows
from transfer.machine.processes import from_main_process
from transfer.runs.familiarity import MOST_REFERENCES, Familiarity
from transfer.training.state import TrainingState
from transfer.training.step import averaged_outputs


def learn_familiarity(training: TrainingState) -> Familiarity:
    """From the plain views of at most MOST_REFERENCES training photos and as many for validation,
    which tell how similar to those a new one is."""
    return from_main_process(lambda: _learn(training))


def _learn(training: TrainingState) -> Familiarity:
    phase, outputs, names = training.history.phases[-1]["name"], [], ()
    for split in ("train", "validation"):
        cached = training.cached[training.block_of(phase)][split]
        rows = stratified_rows(cached.labels.numpy(), MOST_REFERENCES, training.settings.seed)
        found = averaged_outputs(training.body_of(phase), cached, rows, training.accelerator)
        outputs.append(found)
        names = names or tuple(cached.names[row] for row in rows)
    return Familiarity.learn(*outputs, names)
