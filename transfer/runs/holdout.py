"""Recognises a run's own test images, so that an evaluation can say whether they were held out."""

import hashlib
import json
import os
from contextlib import nullcontext, suppress

from transfer.data.dataset import ImageDataset
from transfer.data.source import open_limited
from transfer.data.splits import with_all_splits, with_whole_splits
from transfer.errors import SourceError
from transfer.runs.run import Run
from transfer.settings import TrainingSettings

OPTIONS = ("limit_per_class", "image_column", "label_column", "config")
NOTE = (
    "the dataset, or the options it is read with, changed since the training, so the model may "
    "have been trained on some of these images, which makes the result too good; train again, or "
    "evaluate on images that it has never seen"
)


def hash_of_tested(images: ImageDataset) -> str:
    """sha256 over names and classes; on the Hub names may be row numbers, so its revision counts
    too."""
    test = images.splits["test"]
    revision = images.revision if images.source.startswith("hub:") else None
    labels = [images.classes[label] for label in test.labels]
    return hashlib.sha256(json.dumps([revision, test.names, labels]).encode()).hexdigest()


def open_again(
    run: Run | None, source: str, options: dict
) -> tuple[ImageDataset, bool | None, str | None]:
    """(images, whether its test images are those the run held out or None, a note or None).

    The run's own dataset is read with the run's options, unless `options` sets others; another one
    is read with `options` only, and a split that it does not come with is all of it, unless its
    test images would be those that the run held out. Raises SourceError.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if run is None:
        return with_whole_splits(open_limited(source, TrainingSettings(**given))), None, None
    trained = {name: getattr(run.settings, name) for name in OPTIONS}
    own, seed = _is_own(run, source, given), run.settings.seed
    if not own:
        images = open_limited(source, TrainingSettings(seed=seed, **given))
        own = images.revision == run.record.get("revision")  # the same under another name
    if own:
        images = open_limited(source, TrainingSettings(seed=seed, **trained | given))
    images = _split_again(run, images, own)
    known = _held_out(run, images, own, as_trained=trained | given == trained)
    return images, known, NOTE if own and not known else None


def _split_again(run: Run, images: ImageDataset, own: bool) -> ImageDataset:
    """As the run did where it is the run's own dataset or a copy, else whole."""
    with nullcontext() if own else suppress(SourceError):
        again = with_all_splits(images, run.settings.seed)
        if own or run.record.get("tested_on") == hash_of_tested(again):
            return again
    return with_whole_splits(images)


def _is_own(run: Run, source: str, given: dict) -> bool:
    """By name: a Hub dataset with the same config, or the same place on this machine."""
    trained = str(run.record.get("source"))
    if trained.startswith("hub:"):
        same_config = given.get("config", run.settings.config) == run.settings.config
        name = "hub:" + source.strip().removeprefix("hub:")
        return same_config and name == trained.partition(" (")[0]
    places = (os.path.expanduser(name) for name in (source.strip(), trained))  # noqa: PTH111
    return len({os.path.abspath(place) for place in places}) == 1  # noqa: PTH100


def _held_out(run: Run, images: ImageDataset, own: bool, *, as_trained: bool) -> bool | None:
    """None for another dataset, and for a run that did not record its test images."""
    recorded = run.record.get("tested_on")
    if recorded == hash_of_tested(images):
        return True
    if own and recorded is not None:
        return False
    same = own and as_trained and images.revision == run.record.get("revision")
    return True if same else None
