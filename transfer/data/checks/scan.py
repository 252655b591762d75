"""One pass over all images: each is opened once, and about 1 kB of it is stored."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from transfer.data.checks.fingerprints import Fingerprints
from transfer.data.dataset import ImageDataset, Split
from transfer.data.image import Picture, load_image, stored_size
from transfer.data.prefetch import read_ahead
from transfer.errors import ImageError

DECODED_SIDE = 256  # px: large JPEGs are decoded faster at a part of their size
IMAGES_A_BATCH = 16


class ScanResult:
    """All N images of all splits, a row each.

    `labels` int64 (N,); `split_of` int64 (N,), indices into `split_names`; `trains` bool (N,);
    `sides` int32 (N, 2), the shorter and the longer side in px; `unreadable`: row → reason.
    """

    def __init__(self, images: ImageDataset):
        splits = tuple(images.splits.values())
        sizes = [len(split) for split in splits]
        self.images = images
        self.split_names = tuple(images.splits)
        self.starts = np.cumsum([0, *sizes])
        self.split_of = np.repeat(np.arange(len(sizes)), sizes)
        self.trains = np.repeat([name == "train" for name in self.split_names], sizes)
        self.labels = np.concatenate([split.labels for split in splits])
        self.sides = np.zeros((len(self), 2), dtype=np.int32)
        self.prints = Fingerprints(len(self))
        self.unreadable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def run(self) -> Iterator[int]:
        """Reads every image once; yields how many are done."""
        rows = range(len(self))
        batches = [rows[at : at + IMAGES_A_BATCH] for at in range(0, len(self), IMAGES_A_BATCH)]
        for batch, _ in read_ahead(self._read, batches):
            yield batch[-1] + 1

    def _read(self, rows: range) -> None:
        """In a thread of its own: each writes other rows."""
        for row in rows:
            split, at = self._place(row)
            try:
                picture = split.read(at)
                image = load_image(picture, side=DECODED_SIDE, greys=self.images.greys)
                self.sides[row] = _sides(picture, image)
                self.prints.add(row, image)
            except ImageError as error:
                self.unreadable[row] = str(error)

    def _place(self, row: int) -> tuple[Split, int]:
        return self.images.splits[self.split(row)], int(row - self.starts[self.split_of[row]])

    def name(self, row: int) -> str:
        split, at = self._place(row)
        return split.names[at]

    def split(self, row: int) -> str:
        return self.split_names[self.split_of[row]]

    def label(self, row: int) -> str:
        return self.images.classes[self.labels[row]]

    def readable(self) -> np.ndarray:
        """bool (N,)."""
        return self.sides[:, 0] > 0

    def trainable(self) -> np.ndarray:
        """bool (N,): without a train split, one will be drawn from all images."""
        return self.trains if self.trains.any() else np.ones(len(self), dtype=bool)

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Images a class, int64 (C,), among the rows that bool (N,) marks."""
        return np.bincount(self.labels[rows], minlength=len(self.images.classes))


def _sides(picture: Picture, image: Image.Image) -> tuple[int, int]:
    """(shorter, longer) as stored: `image` may have been decoded at a part of its size."""
    size = image.size
    if isinstance(picture, (bytes, str, Path)) and min(size) >= DECODED_SIDE:
        size = stored_size(picture)
    return min(size), max(size)
