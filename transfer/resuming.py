"""Going on with a training that was cut off: what it had come to, and that it is the same one."""

from dataclasses import dataclass
from pathlib import Path

import torch

from transfer.checkpoint import Checkpoint, read_checkpoint
from transfer.errors import RunError, SettingsError
from transfer.events import EpochDone, Resumed
from transfer.phase_state import Tensors, below
from transfer.record import Record
from transfer.run_folder import CHECKPOINT
from transfer.settings import TrainingSettings
from transfer.source import LabelledImages
from transfer.stages import StageHead
from transfer.weights import Body


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an earlier part of a training had come to, after an epoch of a phase."""

    settings: TrainingSettings
    precision: str
    cut: str
    why: str
    phase: str
    curve: list[EpochDone]
    state: tuple[dict, Tensors]
    heads: dict[str, StageHead]
    record: Record
    learned_from: dict

    @property
    def resumed(self) -> Resumed:
        return Resumed(phase=self.phase, epoch=self.curve[-1].epoch)

    def check(self, images: LabelledImages, body: Body) -> None:
        """Raises RunError unless these are the images and the body that the training began with."""
        now = _learned_from(images, body)
        for name, began in self.learned_from.items():
            if now[name] != began:
                raise RunError(
                    f"expected the {name} with which this training began, found another; "
                    "train anew into another folder"
                )


def find_earlier(out: str | Path, asked: TrainingSettings) -> Earlier | None:
    """What an earlier part of this training left in `out`; None where there is nothing to use.

    Raises RunError when it was asked for in another way.
    """
    found = read_checkpoint(Path(out).expanduser() / CHECKPOINT)
    if found is None:
        return None
    record, tensors = found
    try:
        earlier = _unpacked(record, tensors)
        same = TrainingSettings.from_json(record["asked"]) == asked
    except (KeyError, TypeError, IndexError, SettingsError):
        return None
    if not same:
        raise RunError(
            "expected the settings with which the training in this folder began, found others; "
            "choose another folder, or resume with the same settings"
        )
    return earlier


def pack(training, phase: str, curve: list[EpochDone], state) -> Checkpoint:
    """(JSON, tensors) from which `find_earlier` makes the same again.

    `training` is the recipe's Training, `state` the PhaseState of the phase under way.
    """
    own, tensors = state.pack()
    record = {
        "asked": training.asked.to_json(),
        "settings": training.settings.to_json(),
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


def _unpacked(record: dict, tensors: Tensors) -> Earlier:
    heads = below("heads", tensors)
    precision = record["precision"]
    return Earlier(
        settings=TrainingSettings.from_json(record["settings"]),
        precision="fp32" if precision == "no" else precision,
        cut=record["cut"],
        why=record["why"],
        phase=record["phase"],
        curve=[EpochDone(**epoch) for epoch in record["curve"]],
        state=(record["state"], below("state", tensors)),
        heads={
            stage: StageHead(shape=shape, tensors=below(stage, heads))
            for stage, shape in record["shapes"].items()
        },
        record=Record.unpack(record["record"], tensors["scores"].numpy()),
        learned_from=record["learned_from"],
    )


def _learned_from(images: LabelledImages, body: Body) -> dict:
    return {
        "source": images.source,
        "revision": images.revision,
        "list of classes": list(images.classes),
        "number of images": dict(images.counts()),
        "body": body.sha256,
    }
