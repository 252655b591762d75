"""How well the output of each block tells the classes apart, before any block is fine-tuned.

A block whose output is no better for these classes than its input has filters that do little for
them yet. (Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes.)
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from transfer.data.splits import stratified_folds, stratified_rows
from transfer.events import BlocksProbed
from transfer.features.linear_probe import one_blas_thread
from transfer.features.out_of_fold import out_of_fold
from transfer.features.validation import greater
from transfer.machine.device import in_parts
from transfer.machine.processes import from_main_process
from transfer.model.vgg import averaged
from transfer.runs.familiarity import directions
from transfer.settings import BLOCKS, UNFREEZE
from transfer.training.state import TrainingState
from transfer.training.step import IMAGES_A_PREDICTION

FOLDS, STRENGTH = 3, 10.0  # scikit-learn's C
MOST_PROBED, MOST_COMPUTED = 500, 150  # images, where all outputs are cached and where they are not


def probe_blocks(training: TrainingState) -> Iterator[BlocksProbed]:
    """Probe what is cached below the lowest unfrozen block, and what each block makes of it.

    Not where every class has a single training image.
    """
    if found := from_main_process(lambda: _probed(training)):
        training.history.blocks = found
        yield BlocksProbed(**found)


def _probed(training: TrainingState) -> dict | None:
    """The fields of BlocksProbed."""
    borders, seed = UNFREEZE[UNFREEZE.index(training.plan.cut) :], training.settings.seed
    most = MOST_PROBED if training.cached.keys() == {*borders} else MOST_COMPUTED
    labels = training.features["train"].labels.numpy()
    rows = stratified_rows(labels, most, seed)
    labels, folds = labels[rows], stratified_folds(labels[rows], FOLDS, seed)
    if not folds:
        return None
    hits = {}
    for block, outputs in _outputs(training, borders, rows).items():
        with one_blas_thread():
            found = out_of_fold(directions(outputs), labels, folds, STRENGTH)
        judged = ~np.isnan(found).any(axis=1)
        hits[block] = torch.from_numpy(found.argmax(axis=1) == labels)[judged].float()
    return {
        "images": int(judged.sum()),
        "accuracy": {block: found.mean().item() for block, found in hits.items()},
        "no_gain": [
            block for below, block in pairwise(hits) if not greater(hits[block], hits[below])
        ],
    }


@torch.inference_mode()
def _outputs(training: TrainingState, borders: tuple, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Block → its averaged output, float32 (len(rows), C), of the plain views of training images;
    read where it is cached, else computed from that of the block below."""
    found = {border: [] for border in borders}
    for batch in torch.from_numpy(rows).split(IMAGES_A_PREDICTION):
        for below, border in pairwise(("", *borders)):
            if border in training.cached:
                cached = training.cached[border]["train"]
                values = cached.inputs[0, cached.rows[batch]].to(training.accelerator.device)
            else:
                layers = training.segment(training.network.between(below, border))
                with training.accelerator.autocast():
                    values = in_parts(layers, values)
            found[border].append(averaged(values).cpu())
    found.pop("block1", None)  # pixels
    block_below = dict(zip(UNFREEZE[1:], BLOCKS, strict=True))
    return {block_below[border]: torch.cat(parts).numpy() for border, parts in found.items()}
