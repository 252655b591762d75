"""Images on which a network that is written is compared with its run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from transfer.data.dataset import ImageDataset
from transfer.errors import ImageError, TransferError
from transfer.runs.holdout import open_again
from transfer.runs.run import Run

PHOTOS = 4


def check_images(run: Run) -> list[Image.Image]:
    """RGB: three generated images, and some of the run's own if they are on this machine."""
    own = own_images(run)
    photos = [image for image, _ in some_images(run, own, "test", PHOTOS)] if own else []
    return [*generated_images(run.transform.image_size), *photos]


def generated_images(side: int) -> Iterator[Image.Image]:
    """Noise with coarse and fine structure like photos: a square, a wide and a tall image."""
    noise = np.random.default_rng(0)
    for size in ((side, side), (2 * side, side), (side, side + side // 2)):
        layers = [
            Image.fromarray(noise.integers(0, 256, (grain, grain, 3), dtype=np.uint8)).resize(size)
            for grain in (3, 8, 24, 64)
        ]
        mixed = np.average([np.asarray(layer) for layer in layers], axis=0, weights=(8, 4, 2, 1))
        yield Image.fromarray(mixed.round().astype(np.uint8))


def own_images(run: Run) -> ImageDataset | None:
    """The run's dataset if it is digits, or a folder or zip on this machine; nothing is
    downloaded."""
    source = str(run.record.get("source"))
    try:
        if source != "digits" and not Path(source).expanduser().exists():
            return None
        images, _, _ = open_again(run, source, {})
    except (TransferError, OSError, RuntimeError):
        return None
    return images if images.classes == run.classes else None


def some_images(
    run: Run, images: ImageDataset, split: str, most: int
) -> Iterator[tuple[Image.Image, int]]:
    """(RGB, decoded as the run does; its label) of images that are evenly spread over a split."""
    chosen = images.splits[split]
    for row in np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(int):
        try:
            yield run.transform.load(chosen.read(int(row))), int(chosen.labels[row])
        except ImageError:
            continue
