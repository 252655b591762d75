"""A saved network on labelled images → report."""

import numpy as np

from transfer.data.dataset import ImageDataset
from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.inference.classifier import Classifier
from transfer.runs.holdout import open_again
from transfer.runs.metrics import make_report

MOST_CLASSES_SHOWN = 200


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


def _labels_by_name(images: ImageDataset, classes: tuple[str, ...]) -> list[int]:
    """The classifier's label for each of the source's classes."""
    numbers = {name: i for i, name in enumerate(classes)}
    strange = [name for name in images.classes if name not in numbers]
    if strange:
        raise RunError(
            f"expected classes of the classifier ({', '.join(classes[:10])}), found "
            f"{strange[0]!r} in the source; evaluate on images of the same classes"
        )
    return [numbers[name] for name in images.classes]
