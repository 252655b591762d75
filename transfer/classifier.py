"""Run + picture → ranked classes."""

from dataclasses import dataclass

import numpy as np
import torch

from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.evaluation import make_report
from transfer.held_out import open_again
from transfer.image import Picture
from transfer.run_folder import Run
from transfer.source import LabelledImages
from transfer.transform import Transform

MOST_CLASSES_SHOWN = 200


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


def evaluate(
    classifier: Classifier,
    source: str,
    split: str = "test",
    *,
    limit_per_class: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    config: str | None = None,
) -> dict:
    """The report on one split of a source, with unreadable images under "skipped".

    The training's own source is read as it was for the training, with its options where these are
    None, so that the test images are again the ones held out; another source with these options
    alone. Splits that a source lacks are made by the training's seed. "held_out" is True where the
    test images are known to be those that the training held out, False where they are known to be
    others, else None; where its own source has changed since, a "note" says that some may have been
    trained on. Where there are more than 200 classes, the report has those that occur. Raises
    SourceError.
    """
    options = {
        "limit_per_class": limit_per_class,
        "image_column": image_column,
        "label_column": label_column,
        "config": config,
    }
    images, held_out, note = open_again(classifier.run, str(source), options)
    if split not in images.splits:
        raise SettingsError(f"split must be one of {', '.join(images.splits)}, found {split!r}")
    to_label = _labels_by_name(images, classifier.classes)
    scores, labels, names, skipped = [], [], [], []
    chosen = images.splits[split]
    for i, name in enumerate(chosen.names):
        try:
            scores.append(classifier.scores(chosen.read(i)))
        except ImageError as error:
            skipped.append({"where": name, "why": str(error)})
        else:
            labels.append(to_label[chosen.labels[i]])
            names.append(name)
    if not scores:
        raise SourceError(
            f"expected images in {split} that can be read, found none; run inspect to see why"
        )
    report = _report(np.array(scores), np.array(labels), tuple(names), classifier.classes)
    known = {"held_out": held_out, "note": note} if split == "test" else {}
    return report | {"source": source, "split": split, "skipped": skipped} | known


def _report(
    scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...], classes: tuple[str, ...]
) -> dict:
    """Of very many classes only those that occur, for the matrix grows with their square."""
    if len(classes) > MOST_CLASSES_SHOWN:
        occur = np.union1d(labels, scores.argmax(axis=1))
        scores, labels = scores[:, occur], np.searchsorted(occur, labels)
        classes = tuple(classes[i] for i in occur)
    return make_report(scores, labels, names, classes)


def _labels_by_name(images: LabelledImages, classes: tuple[str, ...]) -> list[int]:
    """The classifier's label for each of the source's classes."""
    numbers = {name: i for i, name in enumerate(classes)}
    strange = [name for name in images.classes if name not in numbers]
    if strange:
        raise RunError(
            f"expected classes of the classifier ({', '.join(classes[:10])}), found "
            f"{strange[0]!r} in the source; evaluate on images of the same classes"
        )
    return [numbers[name] for name in images.classes]
