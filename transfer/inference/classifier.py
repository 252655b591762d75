"""Run + picture → ranked classes."""

from dataclasses import dataclass

import numpy as np
import torch

from transfer.data.image import Picture
from transfer.data.transform import Transform
from transfer.errors import SettingsError
from transfer.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """`score` is the softmax over all classes, 0…1."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with the transform and the class names it was trained with.

    `network` takes what `transform` normalises, float32 (N, 3, H, W), to logits (N, classes).
    `run` is None where it was trained elsewhere.
    """

    network: torch.nn.Module
    transform: Transform
    classes: tuple[str, ...]
    run: Run | None = None

    def classify(self, picture: Picture, top: int = 5) -> list[Prediction]:
        """The `top` best classes of a file, its bytes, an array or a PIL image, best first.

        Raises ImageError.
        """
        if top < 1:
            raise SettingsError(f"top must be a whole number from 1 up, found {top!r}")
        return self.best(self.scores(picture), top)

    @torch.inference_mode()
    def scores(self, picture: Picture) -> np.ndarray:
        """Float32 (classes,), summing to 1, in full precision. Raises ImageError."""
        return probabilities(self.network(self.normalised(picture)))

    def normalised(self, picture: Picture) -> torch.Tensor:
        """What the network takes, float32 (1, 3, H, W), where it is. Raises ImageError."""
        pixels = torch.from_numpy(self.transform.pixels(picture)).unsqueeze(0)
        return self.transform.normalise(pixels.to(next(self.network.parameters()).device))

    def best(self, scores: np.ndarray, top: int = 5) -> list[Prediction]:
        """The `top` best classes by scores (classes,), best first."""
        order = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(label=self.classes[i], score=float(scores[i])) for i in order]


def probabilities(logits: torch.Tensor) -> np.ndarray:
    """Logits float (1, classes) → float32 (classes,), their softmax."""
    return logits.float().softmax(dim=1)[0].cpu().numpy()
