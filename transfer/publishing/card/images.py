"""Test images of a run that a card shows, if they are public and still on this machine."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from transfer import hub
from transfer.data.dataset import ImageDataset
from transfer.data.remote.columns import LoadOptions
from transfer.data.source import load_splits
from transfer.errors import ImageError
from transfer.publishing.card.license import hub_dataset, is_digits
from transfer.runs.run import Run

MISTAKES, EXAMPLES = 8, 3  # at most
SECONDS = 20.0  # for opening a dataset that is on this machine
SIDE = 256  # pixels


def find_examples(run: Run, images: ImageDataset) -> Iterator[tuple[Image.Image, str]]:
    """(image, its class): the first test image that can be read of each of the first classes."""
    test = images.splits["test"]
    for number, name in enumerate(run.classes[:EXAMPLES]):
        for row in np.flatnonzero(test.labels == number):
            try:
                picture = run.transform.load(test.read(int(row)))
            except ImageError:
                continue
            picture.thumbnail((SIDE, SIDE))
            yield picture, name
            break


def find_mistakes(run: Run, images: ImageDataset) -> list[tuple[Image.Image, dict]]:
    """(image, its entry in the report) of the most confident mistakes."""
    mistakes = [m for m in run.report.get("mistakes", []) if m.get("name")][:MISTAKES]
    test = images.splits["test"]
    rows = {name: row for row, name in enumerate(test.names)}
    found = []
    for mistake in mistakes:
        row = rows.get(mistake["name"])
        if row is None or images.classes[test.labels[row]] != mistake["label"]:
            return []  # other images with the same names
        try:
            picture = run.transform.load(test.read(row))
        except ImageError:
            continue
        picture.thumbnail((SIDE, SIDE))
        found.append((picture, mistake))
    return found


def open_images(run: Run) -> ImageDataset | None:
    """The public dataset as it was in the training; None if it is not here, for nothing is
    downloaded."""
    try:
        if is_digits(run):
            images = load_splits("digits", run.settings)
        else:
            images = hub.with_deadline(lambda: _open_if_local(run, hub_dataset(run)), SECONDS)
    except Exception:  # the card does without these images
        return None
    same = images is not None and images.revision == run.record.get("revision")
    return images if same else None


def _open_if_local(run: Run, name: str) -> ImageDataset | None:
    from transfer.data.remote.dataset import is_local

    is_here = is_local(name, LoadOptions.of(run.settings))
    return load_splits(f"hub:{name}", run.settings) if is_here else None
