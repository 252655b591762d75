"""Picture → ranked classes."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from transfer.data.image import Picture
from transfer.data.transform import Transform
from transfer.errors import SettingsError
from transfer.machine.device import in_parts
from transfer.model.vgg import averaged
from transfer.runs.familiarity import Familiarity, is_known
from transfer.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A class for a picture. What is unknown, of models that were trained elsewhere or by older
    versions, is None."""

    label: str
    score: float  # the softmax over all classes, 0…1
    in_set: bool | None = None  # whether it is in the picture's set, see `Answer`
    known: bool | None = None  # the picture's, see `Answer`
    familiarity: float | None = None  # the picture's, see `Answer`


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a classifier says about one picture.

    `predictions` are the best classes, best first. `set` holds the classes of which the true one
    is one for nine of ten pictures; it may be empty, as no class may score high enough. Both
    suppose that the picture shows one of the classes. `familiarity`, 0 to 1, is the share of
    held-out photos that are less similar to the training photos; a picture is `known` unless this
    is below FALSE_ALARMS. What is unknown, of models that were trained elsewhere or by older
    versions, is None.
    """

    predictions: list[Prediction]
    set: tuple[str, ...] | None = None
    familiarity: float | None = None
    known: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with the transform and the class names it was trained with."""

    network: torch.nn.Module  # normalised pixels, float32 (N, 3, H, W) → logits (N, classes)
    transform: Transform
    classes: tuple[str, ...]
    run: Run | None = None  # None for a model that was trained elsewhere
    familiarity: Familiarity | None = None
    least_score: float | None = None  # of the classes in a set

    def classify(self, picture: Picture, top: int = 5) -> list[Prediction]:
        """The best classes of a file, its bytes, an array or a PIL image. Raises ImageError."""
        return self.answer(self.prepare(picture), top).predictions

    def scores(self, picture: Picture) -> np.ndarray:
        """Float32 (classes,), summing to 1, in full precision. Raises ImageError."""
        return self.judge(self.prepare(picture))[0][0]

    def prepare(self, picture: Picture) -> torch.Tensor:
        """The network's input, float32 (1, 3, H, W), normalised, on its device. Raises ImageError.

        `answer`, `heat_map` and `Comparison.predict` take it, so that a picture is decoded once.
        """
        pixels = torch.from_numpy(self.transform.pixels(picture)).unsqueeze(0)  # uint8 (1, 3, H, W)
        return self.transform.normalise(pixels.to(next(self.network.parameters()).device))

    def answer(self, pixels: torch.Tensor, top: int = 5) -> Answer:
        """What is said about one prepared picture, float32 (1, 3, H, W), with the `top` best
        classes."""
        if top < 1:
            raise SettingsError(f"top must be a whole number from 1 up, found {top!r}")
        (scores,), familiar = self.judge(pixels)
        familiarity = None if familiar is None else float(familiar[0])
        known = None if familiar is None else bool(is_known(familiarity))
        return Answer(
            predictions=[
                replace(prediction, known=known, familiarity=familiarity)
                for prediction in self.rank(scores, top)
            ],
            set=self._set(scores),
            familiarity=familiarity,
            known=known,
        )

    @torch.inference_mode()
    def judge(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Prepared pictures, float32 (N, 3, H, W) → (scores float32 (N, classes), familiarity
        float32 (N,) or None). Raises TransferError when there is not enough memory for one."""
        if self.familiarity is None:
            return softmax(in_parts(self.network, pixels)), None
        features = in_parts(self.network.features, pixels)  # (N, 512, h, w)
        familiarity = self.familiarity.of(averaged(features).cpu().numpy())
        return softmax(self.network.head(features)), familiarity

    @torch.inference_mode()
    def most_similar(self, pixels: torch.Tensor, most: int = 5) -> list[str]:
        """The names of the training photos that are most like one prepared picture, float32
        (1, 3, H, W); empty where these are not recorded."""
        if self.familiarity is None:
            return []
        features = in_parts(self.network.features, pixels)
        return self.familiarity.nearest(averaged(features).cpu().numpy(), most)

    def rank(self, scores: np.ndarray, top: int = 5) -> list[Prediction]:
        """The `top` best classes by scores (classes,), best first."""
        return [
            Prediction(
                label=self.classes[i],
                score=float(scores[i]),
                in_set=None if self.least_score is None else bool(scores[i] >= self.least_score),
            )
            for i in np.argsort(-scores, kind="stable")[:top]
        ]

    def _set(self, scores: np.ndarray) -> tuple[str, ...] | None:
        if self.least_score is None:
            return None
        order = np.argsort(-scores, kind="stable")
        return tuple(self.classes[i] for i in order if scores[i] >= self.least_score)


def softmax(logits: torch.Tensor) -> np.ndarray:
    """Logits (N, classes) in any precision → float32 (N, classes), each row summing to 1."""
    return logits.float().softmax(dim=1).cpu().numpy()
