"""Resuming an interrupted training: its checkpoint, and the check that it is the same training."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from transfer.data.dataset import ImageDataset
from transfer.errors import RunError, SettingsError
from transfer.events import EpochDone
from transfer.model.weights import Body
from transfer.runs.checkpoint import Checkpoint, read_checkpoint
from transfer.runs.run import CHECKPOINT, run_path
from transfer.settings import PRECISIONS, UNFREEZE, TrainingSettings
from transfer.training.history import TrainingHistory
from transfer.training.phase_state import Tensors, packed, unpacked

PHASES = ("warm-up", "fine-tune")


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """A training as its checkpoint has it, after an epoch of `phase`.

    `asked` are the settings it started with, `cut` and `why` the plan's, `curve` the epochs of
    `phase` so far, `state` its packed PhaseState, `fingerprints` those of the images and the body.
    """

    asked: TrainingSettings
    settings: TrainingSettings
    precision: str
    cut: str
    why: str
    phase: str
    curve: list[EpochDone]
    state: Checkpoint
    history: TrainingHistory
    fingerprints: dict[str, str]

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
    found = read_checkpoint(run_path(out) / CHECKPOINT)
    try:
        earlier = _unpack(*found, asked.weights) if found else None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, SettingsError):
        return None
    if earlier is None or earlier.asked == asked:
        return earlier
    changed = [name for name, value in vars(asked).items() if getattr(earlier.asked, name) != value]
    raise RunError(
        "expected the settings that the training in this folder started with, found another "
        f"{', '.join(changed).replace('_', ' ')}; resume with the same settings, or choose "
        "another folder"
    )


def pack(training, phase: str, curve: list[EpochDone], state) -> Checkpoint:
    """(JSON, tensors) from which `find_checkpoint` makes a ResumeState.

    `training` is the TrainingState, `state` the PhaseState of the running phase.
    """
    values = {
        "asked": _json(training.asked),
        "settings": _json(training.settings),
        "precision": training.accelerator.mixed_precision,
        "cut": training.plan.cut,
        "why": training.plan.why,
        "phase": phase,
        "curve": [vars(epoch) for epoch in curve],
        "state": state.pack(),
        "history": training.history.pack(),
        "fingerprints": _fingerprints(training.images, training.body),
    }
    tensors: Tensors = {}
    return {name: packed(value, name, tensors) for name, value in values.items()}, tensors


def _json(settings: TrainingSettings) -> dict:
    """Without the weights, which may be a path of this machine; the body's hash is checked."""
    return {name: value for name, value in settings.to_json().items() if name != "weights"}


def _unpack(record: dict, tensors: Tensors, body: str) -> ResumeState:
    """Raises ValueError and the like on values that no training writes."""
    values = {name: unpacked(value, tensors, "cpu") for name, value in record.items()}
    asked, settings = (
        TrainingSettings.from_json(values[name] | {"weights": body})
        for name in ("asked", "settings")
    )
    precision = values["precision"]  # as Accelerate calls it
    earlier = ResumeState(
        asked=asked,
        settings=settings,
        precision="fp32" if precision == "no" else precision,
        curve=[EpochDone(**epoch) for epoch in values["curve"]],
        state=(record["state"], tensors),
        history=TrainingHistory.unpack(values["history"]),
        **{name: values[name] for name in ("cut", "why", "phase", "fingerprints")},
    )
    known = earlier.phase in PHASES and earlier.cut in UNFREEZE and earlier.precision in PRECISIONS
    state, best = values["state"], values["state"]["best"]
    if not known or earlier.curve[-1].epoch != state["epoch"]:
        raise ValueError("no place in a phase")
    weights = (state["now"], best["first"], best["state"])
    if not all(tensor.isfinite().all() for part in weights for tensor in part.values()):
        raise ValueError("weights that are not finite")
    return earlier


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
