"""What is kept of every image, so that the frozen part of the network runs once.

A `Level` is what is kept at one height: pixels, or what leaves some layers. `CacheSpec` names all
that those numbers depend on; `Cached` is what a phase then learns from.
"""

import hashlib
import math
import mmap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import torch
from torch.utils.data import Dataset

from transfer.cache.store import CacheEntry
from transfer.data.dataset import ImageDataset
from transfer.data.image import formats
from transfer.data.transform import Transform
from transfer.model.vgg import Segment

BYTES_BEFORE_FORGETTING = 16_000_000
NUMPY = {"uint8": np.uint8, "bfloat16": np.int16, "float16": np.float16, "float32": np.float32}


class MemmapTensor:
    """A whole entry as if it were a tensor in memory: `mapped[views, rows]` copies those rows.

    Pages that were read are given back to the system now and then, so that a process does not
    seem to grow with what it has read.
    """

    def __init__(self, entry: CacheEntry):
        self.shape, self.dtype = torch.Size(entry.shape), getattr(torch, entry.dtype)
        with (entry.path / "data.bin").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._values = np.frombuffer(self._map, NUMPY[entry.dtype]).reshape(entry.shape)
        self._read = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: tuple) -> torch.Tensor:
        """(len(rows), …) of one view or of a view a row."""
        views, rows = (np.asarray(index) for index in at)
        taken = self._values[views, rows]
        self._read += taken.nbytes
        if self._read > BYTES_BEFORE_FORGETTING and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return torch.from_numpy(taken).view(self.dtype)


@dataclass(frozen=True, kw_only=True)
class CachedDataset(Dataset):
    """One split, on disk: whole batches are taken by row.

    `inputs` is (V, N, …) of V views, mapped or in memory: uint8 pixels (…, 3, S, S) or features
    (…, C, H, W) in float32, bfloat16 or float16; `rows` int64 (M,) are those that could be read;
    `labels` int64 (M,) and `names` (M) belong to them. View 0 is the plain picture. A batch holds
    a view drawn at random where `random_views`, else view 0.
    """

    inputs: torch.Tensor | MemmapTensor
    rows: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]
    random_views: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = self.__getitems__([index])
        return inputs[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs (B, …), labels int64 (B,)): PyTorch's protocol for taking a batch at once."""
        at = torch.as_tensor(indices)
        views = torch.zeros_like(at)
        if self.random_views:
            views = torch.randint(self.views, at.shape)
        return self.inputs[views, self.rows[at]], self.labels[at]

    @property
    def views(self) -> int:
        return len(self.inputs)

    @property
    def megabytes(self) -> float:
        return math.prod(self.inputs.shape) * self.inputs.dtype.itemsize / 1e6


@dataclass(frozen=True, kw_only=True)
class CacheLayer:
    """What is kept of every image at one height of the network.

    Pixels where `stage` is None, else what leaves `stage`, which runs on the level below. `block`
    is the one that this level enters; `row_shape` is that of one view of one image.
    """

    block: str
    row_shape: tuple[int, ...]
    stage: Segment | None = None
    kept: bool = True


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """Everything that the kept numbers depend on, and so what their key is made of.

    `body` is the body's hash; `dtype` is that of training and validation. Test images run and are
    kept in float32, as an upload does, so that what is reported is what is later answered.
    """

    transform: Transform
    views: int
    seed: int
    body: str
    dtype: torch.dtype
    levels: tuple[CacheLayer, ...]

    def views_of(self, split: str) -> int:
        return self.views if split == "train" else 1

    def dtype_of(self, split: str, level: CacheLayer) -> torch.dtype:
        if level.stage is None:
            return torch.uint8
        return torch.float32 if split == "test" else self.dtype

    def shape_of(self, split: str, level: CacheLayer, rows: int) -> tuple[int, ...]:
        return (self.views_of(split), rows, *level.row_shape)

    def bytes(self, counts: dict[str, int]) -> int:
        """What all kept levels of all images take."""
        return sum(
            math.prod(self.shape_of(split, level, rows)) * self.dtype_of(split, level).itemsize
            for split, rows in counts.items()
            for level in self.levels
            if level.kept
        )

    def key(self, images: ImageDataset, split: str, level: CacheLayer) -> dict:
        """JSON in which nothing that decides a number is missing: none of them can be stale."""
        names = "\0".join(images.splits[split].names)
        key = {
            "source": images.source,
            "revision": images.revision,
            "image_column": images.image_column,
            "split": split,
            "selection": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
            "transform": self.transform.to_json(),
            "views": self.views_of(split),
            "seed": self.seed if self.views_of(split) > 1 else None,
            "code": _code(),
        }
        if level.stage is not None:
            dtype = name_of(self.dtype_of(split, level))
            key |= {"body": self.body, "cut": level.block, "dtype": dtype}
        return key


@cache
def _code() -> str:
    """A hash of what turns a file into pixels, here and in Pillow with its plugins."""
    digest = hashlib.sha256(PIL.__version__.encode())
    digest.update(" ".join(sorted(formats())).encode())
    package = Path(__file__).parents[1]
    for file in ("data/image.py", "data/transform.py", "features/extract.py"):
        digest.update((package / file).read_bytes())
    return digest.hexdigest()


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
