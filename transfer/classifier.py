"""Run + picture → ranked classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.evaluation import make_report
from transfer.image import Picture
from transfer.network import Network
from transfer.run_folder import Run, read_network, read_run
from transfer.settings import TrainingSettings
from transfer.source import LabelledImages, open_source
from transfer.transform import Transform


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """`score` is the softmax over all classes, 0…1."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with the transform and the class names it was trained with."""

    network: Network
    transform: Transform
    classes: tuple[str, ...]
    run: Run

    def classify(self, picture: Picture, top: int = 5) -> list[Prediction]:
        """The `top` best classes of a file, its bytes, an array or a PIL image, best first.

        Raises ImageError.
        """
        if top < 1:
            raise SettingsError(f"top must be a whole number from 1 up, found {top!r}")
        scores = self.scores(picture)
        best = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(label=self.classes[i], score=float(scores[i])) for i in best]

    @torch.inference_mode()
    def scores(self, picture: Picture) -> np.ndarray:
        """Float32 (classes,), summing to 1, in full precision. Raises ImageError."""
        pixels = torch.from_numpy(self.transform.pixels(picture)).unsqueeze(0)
        device = next(self.network.parameters()).device
        logits = self.network(self.transform.normalise(pixels.to(device)))
        return logits.float().softmax(dim=1)[0].cpu().numpy()


def load(run: str | Path | Run) -> Classifier:
    """A classifier from a run folder. Raises RunError or WeightsError."""
    run = run if isinstance(run, Run) else read_run(run)
    network = read_network(run)
    if torch.cuda.is_available():
        network = network.to("cuda")
    return Classifier(network=network, transform=run.transform, classes=run.classes, run=run)


def evaluate(
    classifier: Classifier,
    source: str,
    split: str = "test",
    settings: TrainingSettings | None = None,
) -> dict:
    """The report on one split of a source, with unreadable images under "skipped".

    Splits that the source lacks are made as they were for the training, by its seed, so that on
    the training's own source the test images are again the ones held out. Raises SourceError.
    """
    images = open_source(source, settings or classifier.run.settings)
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
    report = make_report(np.array(scores), np.array(labels), tuple(names), classifier.classes)
    return report | {"source": source, "split": split, "skipped": skipped}


def _labels_by_name(images: LabelledImages, classes: tuple[str, ...]) -> list[int]:
    """The run's label for each of the source's classes."""
    strange = [name for name in images.classes if name not in classes]
    if strange:
        raise RunError(
            f"expected classes of the run ({', '.join(classes[:10])}), found {strange[0]!r} in the "
            "source; evaluate on images of the same classes"
        )
    return [classes.index(name) for name in images.classes]
