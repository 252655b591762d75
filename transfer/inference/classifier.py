"""Picture → ranked classes."""

from dataclasses import dataclass

import numpy as np
import torch

from transfer.data.image import Picture
from transfer.data.transform import Transform
from transfer.errors import SettingsError
from transfer.machine.device import in_parts
from transfer.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Prediction:
    label: str
    score: float  # the softmax over all classes, 0…1


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with the transform and the class names it was trained with."""

    network: torch.nn.Module  # normalised pixels, float32 (N, 3, H, W) → logits (N, classes)
    transform: Transform
    classes: tuple[str, ...]
    run: Run | None = None  # None for a model that was trained elsewhere

    def classify(self, picture: Picture, top: int = 5) -> list[Prediction]:
        """The best classes of a file, its bytes, an array or a PIL image. Raises ImageError."""
        return self.predict(self.prepare(picture), top)

    def scores(self, picture: Picture) -> np.ndarray:
        """Float32 (classes,), summing to 1, in full precision. Raises ImageError."""
        return self.probabilities(self.prepare(picture))[0]

    def prepare(self, picture: Picture) -> torch.Tensor:
        """The network's input, float32 (1, 3, H, W), normalised, on its device. Raises ImageError.

        `predict`, `heat_map` and `Comparison.predict` take it, so that a picture is decoded once.
        """
        pixels = torch.from_numpy(self.transform.pixels(picture)).unsqueeze(0)  # uint8 (1, 3, H, W)
        return self.transform.normalise(pixels.to(next(self.network.parameters()).device))

    def predict(self, pixels: torch.Tensor, top: int = 5) -> list[Prediction]:
        """The `top` best classes of one prepared picture, float32 (1, 3, H, W), best first."""
        if top < 1:
            raise SettingsError(f"top must be a whole number from 1 up, found {top!r}")
        return self.rank(self.probabilities(pixels)[0], top)

    @torch.inference_mode()
    def probabilities(self, pixels: torch.Tensor) -> np.ndarray:
        """Prepared pictures, float32 (N, 3, H, W) → float32 (N, classes). Raises TransferError
        when there is not enough memory for one."""
        return softmax(in_parts(self.network, pixels))

    def rank(self, scores: np.ndarray, top: int = 5) -> list[Prediction]:
        """The `top` best classes by scores (classes,), best first."""
        order = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(label=self.classes[i], score=float(scores[i])) for i in order]


def softmax(logits: torch.Tensor) -> np.ndarray:
    """Logits (N, classes) in any precision → float32 (N, classes), each row summing to 1."""
    return logits.float().softmax(dim=1).cpu().numpy()
