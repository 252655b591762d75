"""A classifier on labelled images → report."""

from functools import partial

import numpy as np
import torch

from transfer.data.dataset import ImageDataset, Split
from transfer.data.prefetch import read_ahead
from transfer.device import images_per_batch
from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.inference.classifier import Classifier
from transfer.runs.holdout import open_again
from transfer.runs.metrics import make_report

MAX_CLASSES_SHOWN = 200  # the confusion matrix grows with their square
MAX_BATCH = 64
CHANNELS_OF_LARGEST_LAYER = 64  # VGG's first convolutions keep the picture's full size


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

    The training's own source is read with the training's options where these are None, so that the
    test images are again the ones held out. Another source is read with these options alone, and
    splits that it lacks are made with the training's seed. "held_out" is True where the test images
    are known to be those that the training held out, False where they are known to be others, else
    None; where the training's own source has changed since, a "note" says that some may have been
    trained on. With more than 200 classes the report lists only those that occur. Raises
    SourceError.
    """
    options = {
        "limit_per_class": limit_per_class,
        "image_column": image_column,
        "label_column": label_column,
        "config": config,
    }
    dataset, held_out, note = open_again(classifier.run, str(source), options)
    if split not in dataset.splits:
        raise SettingsError(f"split must be one of {', '.join(dataset.splits)}, found {split!r}")
    labels = np.array(_labels_by_name(dataset, classifier.classes))[dataset.splits[split].labels]
    names = dataset.splits[split].names
    scores, rows, errors = _score(classifier, dataset.splits[split])
    if not rows:
        raise SourceError(
            f"expected images in {split} that can be read, found none; run inspect to see why"
        )
    report = _report(scores, labels[rows], tuple(names[row] for row in rows), classifier.classes)
    skipped = [{"where": names[row], "why": str(error)} for row, error in errors.items()]
    test_only = {"held_out": held_out, "note": note} if split == "test" else {}
    return report | {"source": source, "split": split, "skipped": skipped} | test_only


def _score(
    classifier: Classifier, images: Split
) -> tuple[np.ndarray, list[int], dict[int, ImageError]]:
    """(scores float32 (M, classes), their M rows, row → why it cannot be read)."""
    scores, rows, errors, batch = [], [], {}, []
    size = _batch_size(classifier)
    for row, pixels in read_ahead(partial(_prepare, classifier, images), range(len(images))):
        if isinstance(pixels, ImageError):
            errors[row] = pixels
            continue
        rows.append(row)
        batch.append(pixels)
        if len(batch) == size:
            scores.append(classifier.probabilities(torch.cat(batch)))  # (size, classes)
            batch.clear()
    if batch:
        scores.append(classifier.probabilities(torch.cat(batch)))
    return np.concatenate(scores or [np.empty((0, 0))]), rows, errors


def _prepare(classifier: Classifier, images: Split, row: int) -> torch.Tensor | ImageError:
    try:
        return classifier.prepare(images.read(row))
    except ImageError as error:
        return error


def _batch_size(classifier: Classifier) -> int:
    blank = classifier.prepare(np.zeros((32, 32, 3), np.uint8))  # (1, 3, H, W)
    values = CHANNELS_OF_LARGEST_LAYER * blank.shape[2] * blank.shape[3]
    return images_per_batch(values, blank.device, MAX_BATCH)


def _report(
    scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...], classes: tuple[str, ...]
) -> dict:
    """`scores` float32 (M, classes), `labels` int (M,)."""
    if len(classes) > MAX_CLASSES_SHOWN:
        occur = np.union1d(labels, scores.argmax(axis=1))
        scores, labels = scores[:, occur], np.searchsorted(occur, labels)
        classes = tuple(classes[i] for i in occur)
    return make_report(scores, labels, names, classes)


def _labels_by_name(dataset: ImageDataset, classes: tuple[str, ...]) -> list[int]:
    """The classifier's label for each of the dataset's classes."""
    numbers = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in dataset.classes if name not in numbers]
    if unknown:
        raise RunError(
            f"expected classes of the classifier ({', '.join(classes[:10])}), found "
            f"{unknown[0]!r} in the source; evaluate on images of the same classes"
        )
    return [numbers[name] for name in dataset.classes]
