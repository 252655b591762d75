"""Decisions about single images (another label, or leave it out), applied when a dataset is loaded.

The dataset itself is never changed, and neither are the splits: they are drawn by the labels that
the dataset has, so that a training before and one after are judged on the same test images.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, listed
from transfer.errors import SettingsError, SourceError
from transfer.settings import Correction

LEARNED_FROM = ("train", "validation")  # the splits whose labels may be corrected
LEFT_OUT = "left out by the corrections"
FORM = (
    '{"corrections": [{"where": "NAME", "label": "CLASS"}, {"where": "NAME", "leave_out": true}]}'
)


def read_corrections(file: Path) -> tuple[Correction, ...]:
    """The decisions in a JSON file of this FORM. Raises SourceError."""
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise SourceError(
            f"expected a file of corrections, found that {file.name!r} cannot be read "
            f"({error.strerror}); check its name, or write it with review --write"
        ) from None
    except (ValueError, RecursionError):
        raise _not_of_this_form(file, "something that is not JSON") from None
    rows = data.get("corrections") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise _not_of_this_form(file, 'no list called "corrections"')
    found: dict[str, Correction] = {}
    for row in rows:
        try:
            correction = Correction(**row)
        except TypeError:  # other keys, or no object at all
            raise _not_of_this_form(file, json.dumps(row)[:80]) from None
        except SettingsError as error:
            raise SourceError(f"the corrections in {file.name!r} cannot be used: {error}") from None
        if correction.where in found:
            raise SourceError(
                f"expected one correction for each image in {file.name!r}, found several for "
                f"{correction.where!r}; keep one of them"
            )
        found[correction.where] = correction
    return tuple(found.values())


def write_corrections(file: Path, corrections: Iterable[Correction]) -> None:
    """As `read_corrections` reads them. Raises SourceError."""
    rows = [{k: v for k, v in asdict(one).items() if v} for one in corrections]
    try:
        file.write_text(json.dumps({"corrections": rows}, indent=1))
    except OSError as error:
        raise SourceError(
            f"the corrections {file.name!r} cannot be written ({error.strerror}); choose another "
            "place"
        ) from None


def _not_of_this_form(file: Path, found: str) -> SourceError:
    return SourceError(f"expected {FORM} in {file.name!r}, found {found}; correct the file")


def left_out(corrections: Iterable[Correction]) -> frozenset[str]:
    """The names of the images that nothing is learned from."""
    return frozenset(one.where for one in corrections if one.leave_out)


def with_corrections(images: ImageDataset, corrections: tuple[Correction, ...]) -> ImageDataset:
    """The dataset with corrected labels in training and validation.

    Images that are left out are listed among the problems but stay in their splits: a cache of
    features is found by the images of a split, and a training drops them from what it reads
    there. Raises SourceError.
    """
    if not corrections:
        return images
    _check(images, corrections)
    label_of = {one.where: images.classes.index(one.label) for one in corrections if one.label}
    splits = dict(images.splits)
    for name in LEARNED_FROM:
        splits[name] = _relabelled(splits[name], label_of)
        _check_what_is_left(images, name, splits[name], left_out(corrections))
    problems = [DataIssue(one.where, LEFT_OUT) for one in corrections if one.leave_out]
    return images.with_splits(splits, *problems)


def _check(images: ImageDataset, corrections: tuple[Correction, ...]) -> None:
    known = {name for split in LEARNED_FROM for name in images.splits[split].names}
    tested = set(images.splits["test"].names)
    named = [one.where for one in corrections]
    if wrong := [name for name in named if name in tested]:
        raise SourceError(
            f"expected corrections of training and validation images, found {listed(wrong)} of the "
            "test images, by which every training is judged; correct them in the dataset itself, "
            "or remove them from the corrections"
        )
    if wrong := [name for name in named if name not in known]:
        raise SourceError(
            f"expected corrections that name images of this dataset, found {listed(wrong)}, which "
            "it does not have; write names as review does, and use its data options"
        )
    if wrong := [one.label for one in corrections if one.label not in (None, *images.classes)]:
        raise SourceError(
            f"expected corrections to one of the classes {listed(images.classes)}, found "
            f"{listed(wrong)}; check the spelling"
        )


def _relabelled(split: Split, label_of: dict[str, int]) -> Split:
    pairs = zip(split.names, split.labels.tolist(), strict=True)
    labels = [label_of.get(name, label) for name, label in pairs]
    return replace(split, labels=np.array(labels, dtype=np.int64))


def _check_what_is_left(
    images: ImageDataset, name: str, split: Split, without: frozenset[str]
) -> None:
    used = [i for i, where in enumerate(split.names) if where not in without]
    counts = np.bincount(split.labels[used], minlength=len(images.classes))
    # training needs every class, validation any image
    if not (counts.all() if name == "train" else counts.any()):
        lacking = f" in {images.classes[int(counts.argmin())]!r}" if name == "train" else ""
        raise SourceError(
            f"expected {name} images{lacking} that the corrections leave, found none; leave fewer "
            "out, or keep more labels"
        )
