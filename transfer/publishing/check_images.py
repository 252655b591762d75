"""Images on which a network that is written is compared with its run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from transfer.data.source import load_splits
from transfer.errors import ImageError, TransferError
from transfer.runs.run import Run

PHOTOS = 4


def check_images(run: Run) -> list[Image.Image]:
    """RGB: three generated images, and some of the run's own if they are on this machine."""
    return [*_generated(run.transform.image_size), *_photos(run)]


def _generated(side: int) -> Iterator[Image.Image]:
    """Noise with coarse and fine structure like photos: a square, a wide and a tall image."""
    noise = np.random.default_rng(0)
    for size in ((side, side), (2 * side, side), (side, side + side // 2)):
        layers = [
            Image.fromarray(noise.integers(0, 256, (grain, grain, 3), dtype=np.uint8)).resize(size)
            for grain in (3, 8, 24, 64)
        ]
        mixed = np.average([np.asarray(layer) for layer in layers], axis=0, weights=(8, 4, 2, 1))
        yield Image.fromarray(mixed.round().astype(np.uint8))


def _photos(run: Run) -> Iterator[Image.Image]:
    """A few test images of a folder or of digits; nothing is downloaded."""
    source = str(run.record.get("source"))
    try:
        if source != "digits" and not Path(source).expanduser().is_dir():
            return
        test = load_splits(source, run.settings).splits["test"]
    except (TransferError, OSError, RuntimeError):
        return
    for i in np.linspace(0, len(test) - 1, min(PHOTOS, len(test))).astype(int):
        try:
            yield run.transform.load(test.read(int(i)))
        except ImageError:
            continue
