"""Resuming an interrupted training: its checkpoint, and the check that it is the same training."""

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
from transfer.training.phase_state import WEIGHTS, Tensors, below

PHASES = ("warm-up", "fine-tune")


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """A training as its checkpoint has it, after an epoch of `phase`.

    `cut` and `why` are the plan's, `curve` the epochs of `phase` so far, `state` what
    `PhaseState.pack` returned, `fingerprints` those of the images and the body.
    """

    settings: TrainingSettings
    precision: str
    cut: str
    why: str
    phase: str
    curve: list[EpochDone]
    state: tuple[dict, Tensors]
    history: TrainingHistory
    fingerprints: dict

    @property
    def resumed(self) -> Resumed:
        return Resumed(phase=self.phase, epoch=self.curve[-1].epoch)

    def check(self, images: ImageDataset, body: Body) -> None:
        """Raises RunError unless the training started with these images and this body."""
        for name, now in _fingerprints(images, body).items():
            if self.fingerprints.get(name) != now:
                raise RunError(
                    f"expected the {name} that this training started with, found another; "
                    "train into another folder"
                )


def find_checkpoint(out: str | Path, asked: TrainingSettings) -> ResumeState | None:
    """The checkpoint in `out`; None where there is none that can be read.

    Raises RunError when that training started with other settings.
    """
    found = read_checkpoint(Path(out).expanduser() / CHECKPOINT)
    if found is None:
        return None
    record, tensors = found
    try:
        earlier = _unpacked(record, tensors, asked.weights)
        started_with = _settings(record["asked"], asked.weights)
        _check(earlier)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, SettingsError):
        return None
    changed = [name for name, value in vars(asked).items() if getattr(started_with, name) != value]
    if changed:
        raise RunError(
            "expected the settings that the training in this folder started with, found another "
            f"{', '.join(changed).replace('_', ' ')}; resume with the same settings, or choose "
            "another folder"
        )
    return earlier


def _check(earlier: ResumeState) -> None:
    """Raises ValueError and the like on values that no training writes."""
    record, tensors = earlier.state
    known = earlier.phase in PHASES and earlier.cut in UNFREEZE
    known = known and earlier.precision in PRECISIONS and isinstance(earlier.fingerprints, dict)
    if not known or earlier.curve[-1].epoch != record["epoch"]:
        raise ValueError("no place in a phase")
    weights = [tensor for name in WEIGHTS for tensor in below(name, tensors).values()]
    if not all(tensor.isfinite().all() for tensor in weights):
        raise ValueError("weights that are not finite")


def pack(training, phase: str, curve: list[EpochDone], state) -> Checkpoint:
    """(JSON, tensors) from which `find_checkpoint` makes a ResumeState.

    `training` is the TrainingState, `state` the PhaseState of the running phase.
    """
    own, tensors = state.pack()
    heads = training.history.phase_heads
    record = {
        "asked": _json(training.asked),
        "settings": _json(training.settings),
        "precision": training.accelerator.mixed_precision,
        "cut": training.plan.cut,
        "why": training.plan.why,
        "phase": phase,
        "curve": [vars(epoch) for epoch in curve],
        "state": own,
        "shapes": {stage: head.shape for stage, head in heads.items()},
        "history": training.history.pack(),
        "fingerprints": _fingerprints(training.images, training.body),
    }
    tensors = {f"state/{name}": tensor for name, tensor in tensors.items()}
    for stage, head in heads.items():
        tensors |= {f"heads/{stage}/{name}": tensor for name, tensor in head.tensors.items()}
    return record, tensors | {"scores": torch.from_numpy(training.history.scores)}


def _json(settings: TrainingSettings) -> dict:
    """Without the weights, which may be a path of this machine; the body's hash is checked."""
    return {name: value for name, value in settings.to_json().items() if name != "weights"}


def _settings(data: dict, weights: str) -> TrainingSettings:
    return TrainingSettings.from_json(data | {"weights": weights})


def _unpacked(record: dict, tensors: Tensors, weights: str) -> ResumeState:
    heads = below("heads", tensors)
    phase_heads = {
        stage: PhaseHead(shape=shape, tensors=below(stage, heads))
        for stage, shape in record["shapes"].items()
    }
    precision = record["precision"]  # as Accelerate calls it
    return ResumeState(
        settings=_settings(record["settings"], weights),
        precision="fp32" if precision == "no" else precision,
        cut=record["cut"],
        why=record["why"],
        phase=record["phase"],
        curve=[EpochDone(**epoch) for epoch in record["curve"]],
        state=(record["state"], below("state", tensors)),
        history=TrainingHistory.unpack(record["history"], tensors["scores"].numpy(), phase_heads),
        fingerprints=record["fingerprints"],
    )


def _fingerprints(images: ImageDataset, body: Body) -> dict:
    """Name → hash; not the values themselves, for a source may be a path of this machine."""
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
