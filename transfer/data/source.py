"""What the user names (`SOURCE`) → labelled images in train, validation and test splits."""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from transfer.data.dataset import DatasetSummary, ImageDataset, Split, uneven
from transfer.data.drawings import are_drawings
from transfer.data.greys import Extent, GreyScale
from transfer.data.image import deep_extent, load_image
from transfer.data.local.archive import open_archive
from transfer.data.local.digits import open_digits
from transfer.data.local.folder import open_folder
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.dataset import open_hub
from transfer.data.splits import limit_per_class, with_all_splits
from transfer.errors import ImageError, SettingsError, SourceError
from transfer.settings import TrainingSettings

WORD = r"(?![.~])[\w.-]{1,96}(?<!\.)"
HUB_ID = re.compile(f"{WORD}(/{WORD})?")
LOG = logging.getLogger(__name__)
GLANCES = 32  # images that are looked at in advance


def load_splits(source: str, settings: TrainingSettings) -> ImageDataset:
    """The dataset with the settings' limit and all three splits. Raises SourceError, or
    SettingsError for a limit that leaves a split without images."""
    images, limit = open_limited(source, settings), settings.limit_per_class
    # one image to learn from, and one for each split that is drawn from those
    fewest = 1 + len({"validation", "test"} - images.splits.keys())
    if limit and limit < fewest:
        raise SettingsError(
            f"limit_per_class must be at least {fewest} for this dataset, found {limit}: the "
            "images of each class are divided into train, validation and test"
        )
    return with_all_splits(images, settings.seed)


def open_limited(source: str, settings: TrainingSettings) -> ImageDataset:
    """The dataset with the settings' limit and the splits that it comes with. Raises
    SourceError."""
    images = open_dataset(source, settings)
    limit = settings.limit_per_class
    return limit_per_class(images, limit, settings.seed) if limit else images


def open_dataset(source: str, settings: TrainingSettings) -> ImageDataset:
    """The dataset with the splits that it comes with, and one scale of greys. Raises SourceError.

    `source` is `digits`, a folder, a zip, or a Hub id. A local path wins over a Hub id of the same
    name; `hub:user/name` forces the Hub.
    """
    images = _open(str(source).strip(), settings)
    return replace(images, greys=find_greys(images))


def _open(source: str, settings: TrainingSettings) -> ImageDataset:
    if source == "digits":
        if local_path(source):
            LOG.warning("digits is the dataset that comes along; write ./digits for the folder")
        return open_digits()
    if not source.startswith("hub:") and (path := local_path(source)):
        opened = open_archive if path.is_file() else open_folder
        return opened(path, settings.label_column)
    name = source.removeprefix("hub:")
    if source.startswith("hub:") or HUB_ID.fullmatch(name):
        try:
            return open_hub(name, LoadOptions.of(settings))
        except SourceError as error:
            if source.startswith("hub:") or "/" in name:
                raise
            raise SourceError(f"no folder or zip is called {name!r} here, and {error}") from None
    raise SourceError(
        "expected `digits`, a folder, a zip or a Hub id like user/name, found "
        f"{Path(source).name[:80]!r}, which does not exist; check the spelling"
    )


def local_path(name: str) -> Path | None:
    """The path, or None; an empty name does not mean the current folder."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, or of an unknown user
        return None


def find_greys(images: ImageDataset) -> GreyScale:
    """The scale of pictures with more than 8 bits, from what a few training images hold."""
    split = images.splits.get("train") or next(iter(images.splits.values()))
    seen = [extent for extent in _read_some(split, deep_extent, GLANCES) if extent]
    whole, floats = ([e for e in seen if e.floats == kind] for kind in (False, True))
    return GreyScale(
        integers=Extent.join(whole).range() if whole else None,
        floats=Extent.join(floats).range() if floats else None,
    )


def _read_some(split: Split, read: Callable, at_most: int) -> list:
    """`read` of a few images, evenly spread, without the unreadable ones."""
    found = []
    for i in np.linspace(0, len(split) - 1, min(at_most, len(split))).astype(int):
        with suppress(ImageError):
            found.append(read(split.read(int(i))))
    return found


def summarize(images: ImageDataset, at_most: int = GLANCES) -> DatasetSummary:
    """Look at a few training images, evenly spread. Raises SourceError where none can be read."""
    train = images.splits["train"]
    seen = _read_some(train, partial(load_image, greys=images.greys), at_most)
    if not seen:
        raise SourceError("expected images that can be read, found none; run inspect to see why")
    return DatasetSummary(
        train_images=len(train),
        side=int(np.median([min(image.size) for image in seen])),
        drawings=are_drawings(seen),
        classes=len(images.classes),
        uneven=uneven(np.bincount(train.labels, minlength=len(images.classes))),
    )
