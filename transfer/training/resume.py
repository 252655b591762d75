"""Going on with a training that was cut off: what it had come to, and that it is the same one."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from transfer.data.dataset import ImageDataset
from transfer.errors import RunError, SettingsError
from transfer.events import EpochDone, Resumed
from transfer.model.weights import Body
from transfer.runs.checkpoint import Checkpoint, read_checkpoint
from transfer.runs.phase_heads import PhaseHead
from transfer.runs.run import CHECKPOINT
from transfer.settings import PRECISIONS, UNFREEZE, TrainingSettings
from transfer.training.history import TrainingHistory
from transfer.training.phase_state import STATES, Tensors, below

PHASES = ("warm-up", "fine-tune")
WEIGHTS = ("now", *STATES)


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """What an earlier part of a training had come to, after an epoch of a phase."""

    settings: TrainingSettings
    precision: str
    cut: str
    why: str
    phase: str
    curve: list[EpochDone]
    state: tuple[dict, Tensors]
    heads: dict[str, PhaseHead]
    record: TrainingHistory
    learned_from: dict

    @property
    def resumed(self) -> Resumed:
        return Resumed(phase=self.phase, epoch=self.curve[-1].epoch)

    def check(self, images: ImageDataset, body: Body) -> None:
        """Raises RunError unless these are the images and the body that the training began with."""
        for name, now in _learned_from(images, body).items():
            if self.learned_from.get(name) != now:
                raise RunError(
                    f"expected the {name} with which this training began, found another; "
                    "train anew into another folder"
                )


def find_earlier(out: str | Path, asked: TrainingSettings) -> ResumeState | None:
    """What an earlier part of this training left in `out`; None where there is nothing to use.

    Raises RunError when it was asked for in another way.
    """
    found = read_checkpoint(Path(out).expanduser() / CHECKPOINT)
    if found is None:
        return None
    record, tensors = found
    try:
        earlier = _unpacked(record, tensors, asked.weights)
        began = _settings(record["asked"], asked.weights)
        _check(earlier)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, SettingsError):
        return None
    changed = [name for name, value in vars(asked).items() if getattr(began, name) != value]
    if changed:
        raise RunError(
            "expected the settings with which the training in this folder began, found another "
            f"{', '.join(changed).replace('_', ' ')}; resume with the same settings, or choose "
            "another folder"
        )
    return earlier


def _check(earlier: ResumeState) -> None:
    """Raises ValueError or its like on what no training leaves."""
    record, tensors = earlier.state
    known = earlier.phase in PHASES and earlier.cut in UNFREEZE
    known = known and earlier.precision in PRECISIONS and isinstance(earlier.learned_from, dict)
    if not known or earlier.curve[-1].epoch != record["epoch"]:
        raise ValueError("another place than a phase can be in")
    weights = [tensor for name in WEIGHTS for tensor in below(name, tensors).values()]
    if not all(tensor.isfinite().all() for tensor in weights):
        raise ValueError("weights that are no numbers")


def pack(training, phase: str, curve: list[EpochDone], state) -> Checkpoint:
    """(JSON, tensors) from which `find_earlier` makes the same again.

    `training` is the recipe's Training, `state` the PhaseState of the phase under way.
    """
    own, tensors = state.pack()
    record = {
        "asked": _json(training.asked),
        "settings": _json(training.settings),
        "precision": training.accelerator.mixed_precision,
        "cut": training.plan.cut,
        "why": training.plan.why,
        "phase": phase,
        "curve": [vars(epoch) for epoch in curve],
        "state": own,
        "shapes": {stage: head.shape for stage, head in training.heads.items()},
        "record": training.record.pack(),
        "learned_from": _learned_from(training.images, training.body),
    }
    tensors = {f"state/{name}": tensor for name, tensor in tensors.items()}
    for stage, head in training.heads.items():
        tensors |= {f"heads/{stage}/{name}": tensor for name, tensor in head.tensors.items()}
    return record, tensors | {"scores": torch.from_numpy(training.record.scores)}


def _json(settings: TrainingSettings) -> dict:
    """Without the weights, which may be named by a path of this machine: the body has a hash."""
    return {name: value for name, value in settings.to_json().items() if name != "weights"}


def _settings(data: dict, weights: str) -> TrainingSettings:
    return TrainingSettings.from_json(data | {"weights": weights})


def _unpacked(record: dict, tensors: Tensors, weights: str) -> ResumeState:
    heads = below("heads", tensors)
    precision = record["precision"]
    return ResumeState(
        settings=_settings(record["settings"], weights),
        precision="fp32" if precision == "no" else precision,
        cut=record["cut"],
        why=record["why"],
        phase=record["phase"],
        curve=[EpochDone(**epoch) for epoch in record["curve"]],
        state=(record["state"], below("state", tensors)),
        heads={
            stage: PhaseHead(shape=shape, tensors=below(stage, heads))
            for stage, shape in record["shapes"].items()
        },
        record=TrainingHistory.unpack(record["record"], tensors["scores"].numpy()),
        learned_from=record["learned_from"],
    )


def _learned_from(images: ImageDataset, body: Body) -> dict:
    """By hash, for a source may be a path of this machine."""
    found = {
        "source": images.source,
        "list of classes": list(images.classes),
        "number of images": sorted(images.counts().items()),
        "set of images": images.revision,
        "body": body.sha256,
    }
    return {
        name: hashlib.sha256(json.dumps(value).encode()).hexdigest()
        for name, value in found.items()
    }
