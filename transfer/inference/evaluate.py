"""A classifier on labelled images → report."""

import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import torch

from transfer.data.dataset import ImageDataset, Split
from transfer.data.labels import class_name
from transfer.data.prefetch import read_ahead
from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.events import CacheProgress
from transfer.inference.classifier import Classifier
from transfer.machine.device import images_per_batch
from transfer.runs.familiarity import is_known
from transfer.runs.holdout import open_again
from transfer.runs.metrics import make_report, reliability, set_report

MAX_CLASSES_SHOWN = 200  # the confusion matrix grows with their square
MAX_BATCH = 64
CHANNELS_OF_LARGEST_LAYER = 64  # VGG's first convolutions keep the picture's full size


def evaluate(
    classifier: Classifier,
    source: str,
    split: str = "test",
    report: Callable[[CacheProgress], None] = lambda progress: None,
    **options: str | int | None,
) -> dict:
    """The report on one split of a source, with unreadable images under "skipped".

    `report` is called after each batch. `options` are limit_per_class, image_column, label_column
    and config; those left out or None are the training's for its own source, so that the test
    images are again the ones held out. Of another source, a split that it does not come with is all
    of it. "held_out" says whether the test images are those that the training held out, None where
    that is unknown; a "note" says that some may have been trained on. "sets" and "unknown" are
    there if the classifier tells. With more than 200 classes
    the report lists only those that occur. Raises SourceError, or TransferError when there is not
    enough memory for one image.
    """
    dataset, held_out, note = open_again(classifier.run, str(source), options)
    if split not in dataset.splits:
        raise SettingsError(f"split must be one of {', '.join(dataset.splits)}, found {split!r}")
    images, classes = dataset.splits[split], classifier.classes
    labels = np.array(_labels_by_name(dataset, classes))[images.labels]
    judged, errors = _judge(classifier, images, labels, report)
    rows = [row for row in range(len(images)) if row not in errors]
    if not rows:
        raise SourceError(f"expected images in {split}, found none to read; run inspect to see why")
    names, labels = tuple(images.names[row] for row in rows), labels[rows]
    predicted, confidence = judged["predicted"], judged["confidence"]
    trust = {"calibration": reliability(confidence, predicted == labels)}
    if classifier.least_score is not None:
        trust["sets"] = set_report(judged["covered"], judged["size"])
    if "known" in judged:
        trust["unknown"] = float(1 - judged["known"].mean())
    if len(classes) > MAX_CLASSES_SHOWN:
        occur = np.union1d(labels, predicted)
        predicted, labels = np.searchsorted(occur, predicted), np.searchsorted(occur, labels)
        classes = tuple(classes[i] for i in occur)
    found = make_report(predicted, confidence, labels, names, classes)
    skipped = [{"where": images.names[row], "why": str(error)} for row, error in errors.items()]
    test_only = {"held_out": held_out, "note": note} if split == "test" else {}
    return found | trust | {"source": source, "split": split, "skipped": skipped} | test_only


def _judge(
    classifier: Classifier,
    images: Split,
    labels: np.ndarray,
    report: Callable[[CacheProgress], None],
) -> tuple[dict[str, np.ndarray], dict[int, ImageError]]:
    """(what is known of each readable image, see `_columns`; row → why it cannot be read).

    The scores of all classes are not stored, so that memory hardly grows with the images.
    """
    parts, errors = [], {}
    size, done, started = _batch_size(classifier), 0, time.monotonic()
    prepared = iter(read_ahead(partial(_prepare, classifier, images), range(len(images))))
    while batch := dict(islice(prepared, size)):  # row → pixels or why they cannot be read
        errors |= {row: read for row, read in batch.items() if isinstance(read, ImageError)}
        if good := [row for row in batch if row not in errors]:
            pixels = torch.cat([batch[row] for row in good])
            parts.append(_columns(classifier, pixels, labels[good]))
        done += len(batch)
        seconds = time.monotonic() - started
        report(CacheProgress(stage="evaluating", done=done, total=len(images), seconds=seconds))
    names = parts[0] if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, errors


def _columns(
    classifier: Classifier, pixels: torch.Tensor, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Of prepared pictures, float32 (N, 3, H, W): their best class, int (N,), its score, whether
    their own class is in their set, how many classes are in it, and whether they are known."""
    scores, familiarity = classifier.judge(pixels)
    found = {"predicted": scores.argmax(axis=1), "confidence": scores.max(axis=1)}
    if classifier.least_score is not None:
        inside = scores >= classifier.least_score  # (N, classes)
        found |= {"covered": inside[np.arange(len(labels)), labels], "size": inside.sum(axis=1)}
    return found if familiarity is None else found | {"known": is_known(familiarity)}


def _prepare(classifier: Classifier, images: Split, row: int) -> torch.Tensor | ImageError:
    try:
        return classifier.prepare(images.read(row))
    except ImageError as error:
        return error


def _batch_size(classifier: Classifier) -> int:
    blank = classifier.prepare(np.zeros((32, 32, 3), np.uint8))  # (1, 3, H, W)
    if blank.dtype == torch.uint8:  # of an exported model, which resizes one photo at a time
        return 1
    values = CHANNELS_OF_LARGEST_LAYER * blank.shape[2] * blank.shape[3]
    return images_per_batch(values, blank.device, MAX_BATCH)


def _labels_by_name(dataset: ImageDataset, classes: tuple[str, ...]) -> list[int]:
    """The classifier's label for each of the dataset's classes."""
    # names of older runs and of other programs as they are, and as those of datasets are compared
    numbers = {class_name(name): i for i, name in enumerate(classes)}
    numbers |= {name: i for i, name in enumerate(classes)}
    if unknown := [name for name in dataset.classes if name not in numbers]:
        raise RunError(
            f"expected classes of the classifier ({', '.join(classes[:10])}), found "
            f"{unknown[0]!r} in the source; evaluate on images of the same classes"
        )
    return [numbers[name] for name in dataset.classes]
