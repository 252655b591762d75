"""A folder with an exported ONNX model → the same answers as from the run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from transfer.data.image import Picture
from transfer.data.transform import Transform
from transfer.errors import RunError
from transfer.inference.classifier import Classifier
from transfer.inference.onnx_format import FACTS, FORMAT_VERSION, INPUT, MODEL, OUTPUTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier(Classifier):
    """`network` is None: `session` resizes, normalises, scores and compares in one graph."""

    network: None = None
    session: "InferenceSession"

    def prepare(self, picture: Picture) -> torch.Tensor:
        """The photo as it is, upright, uint8 (1, H, W, 3). Raises ImageError."""
        return torch.from_numpy(np.array(self.transform.load(picture))[None])

    def judge(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Photos of one size, uint8 (N, H, W, 3) → (scores float32 (N, classes), familiarity
        float32 (N,) or None)."""
        scores, *familiarity = self.session.run(None, {INPUT: pixels.numpy()})
        return scores, familiarity[0] if familiarity else None


def open_session(model: Path) -> "InferenceSession":
    """Raises RunError if the file is damaged or not one that `export` wrote."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's own kinds are not public
        raise RunError(f"the file {model.name} is cut or damaged; export the run again") from None
    names = tuple(output.name for output in session.get_outputs())
    if [i.name for i in session.get_inputs()] != [INPUT] or names != OUTPUTS[: len(names)]:
        raise RunError(f"expected a {model.name} that `export` wrote, found another model")
    return session


def read_onnx(folder: Path) -> OnnxClassifier:
    """Raises RunError."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        version, least = facts["format_version"], facts["least_score"]
        if version != FORMAT_VERSION:
            raise RunError(
                f"expected {FACTS} of version {FORMAT_VERSION}, found {version!r}; update this "
                "package"
            )
        return OnnxClassifier(
            session=open_session(folder / MODEL),
            transform=Transform.from_json(facts["transform"]),
            classes=tuple(map(str, facts["classes"])),
            least_score=None if least is None else float(least),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise RunError(f"{FACTS} is missing, cut or damaged; export the run again") from None


def read_agreement(folder: Path) -> dict:
    """How a folder that was just written compares with its run, as model.json says."""
    return json.loads((folder / FACTS).read_text(encoding="utf-8"))["compared"]
