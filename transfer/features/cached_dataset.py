"""The feature cache as a dataset: what is cached, under which key, and how batches are read.

A `CacheLayer` is one point of the network whose values are cached: the pixels, or the output of
some layers. `CacheSpec` names everything that these values depend on. `CachedDataset` is what a
phase is trained on.
"""

import hashlib
import math
import mmap
import random
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from torch.utils.data import Dataset

from transfer.cache.store import CacheEntry
from transfer.data.dataset import ImageDataset
from transfer.data.image import formats
from transfer.data.transform import Transform, augmented
from transfer.model.vgg import Segment

# pages that were read count as memory of the process; after so many bytes they are given back
BYTES_BEFORE_RELEASE = 16_000_000


class MemmapTensor:
    """A complete cache entry as a tensor (V, N, …) on disk: `mapped[views, rows]` copies rows.

    An ordinary memory map would count every page that was read as memory of the process.
    """

    def __init__(self, entry: CacheEntry):
        self.shape, self.dtype = torch.Size(entry.shape), getattr(torch, entry.dtype)
        with (entry.path / "data.bin").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # bfloat16 does not exist in numpy, so its bytes are read as int16
        dtype = np.dtype("int16" if entry.dtype == "bfloat16" else entry.dtype)
        self._values = np.frombuffer(self._map, dtype).reshape(entry.shape)
        self._read = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: tuple) -> torch.Tensor:
        """(len(rows), …) of one view, or of one view for each row."""
        views, rows = (np.asarray(index) for index in at)
        values = self._values[views, rows]  # a copy: both indices are arrays
        self._read += values.nbytes
        if self._read > BYTES_BEFORE_RELEASE and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return torch.from_numpy(values).view(self.dtype)

    def read(self, rows: Sequence[int]) -> tuple[torch.Tensor, dict[int, str]]:
        """((V, len(rows), …) of all views, no row that is unreadable), as from images."""
        return torch.stack([self[view, rows] for view in range(len(self))]), {}


@dataclass(frozen=True, kw_only=True)
class CachedDataset(Dataset):
    """One split, whose batches are read by row.

    `inputs` (V, N, …) holds V views of N images, on disk or in memory: pixels, uint8
    (…, 3, S, S), or features, (…, C, H, W) in float32, bfloat16 or float16. `rows`, int64 (M,),
    are the images that could be read; `labels`, int64 (M,), and `names` (M) belong to them. View 0
    is the plain image. With `random_views` a batch has a random view of each image, else view 0; of
    pixels it has the plain view cropped and mirrored in a new way.
    """

    inputs: torch.Tensor | MemmapTensor
    rows: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]
    random_views: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs (B, …), labels int64 (B,)). DataLoader calls this to fetch a batch at once."""
        at = torch.as_tensor(indices)
        if self.random_views and self.inputs.dtype == torch.uint8:
            return self._augmented(at), self.labels[at]
        views = torch.randint(self.views, at.shape) if self.random_views else torch.zeros_like(at)
        return self.inputs[views, self.rows[at]], self.labels[at]

    def _augmented(self, at: torch.Tensor) -> torch.Tensor:
        """Cached pixels, uint8 (B, 3, S, S), augmented differently in every epoch."""
        drawn = []
        for pixels in self.inputs[torch.zeros_like(at), self.rows[at]]:
            plain = Image.fromarray(pixels.permute(1, 2, 0).numpy())  # (S, S, 3)
            generator = random.Random(int(torch.randint(2**31, ())))
            image = augmented(plain, generator).resize(plain.size, Image.Resampling.BILINEAR)
            drawn.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        return torch.stack(drawn)

    @property
    def views(self) -> int:
        return len(self.inputs)

    def without(self, names: Set[str]) -> "CachedDataset":
        """The same without the images of these names. Their values stay in the cache, so that a
        training with them and one without them share it."""
        used = [i for i, name in enumerate(self.names) if name not in names]
        return replace(
            self,
            rows=self.rows[used],
            labels=self.labels[used],
            names=tuple(self.names[i] for i in used),
        )


@dataclass(frozen=True, kw_only=True)
class CacheLayer:
    """One point of the network whose values are cached.

    These are the pixels, or the output of `segment`, which runs on the layer below. They are the
    input of `block`; `row_shape` is the shape of one view of one image. With `cached` false they
    are only computed on the way to the next layer. With `pooled` each map is averaged to float32
    (…, C, 1, 1), of which a head that averages makes the same numbers.
    """

    block: str
    row_shape: tuple[int, ...]
    segment: Segment | None = None
    cached: bool = True
    pooled: bool = False


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """Everything that the cached values depend on, hence what their key is made of.

    `body` is the hash of the body; `dtype` is for training and validation. Test images are computed
    in float32, as an upload is, so that the reported accuracy is that of the finished model.
    """

    transform: Transform
    views: int
    seed: int
    body: str
    dtype: torch.dtype
    layers: tuple[CacheLayer, ...]

    def views_of(self, split: str) -> int:
        return self.views if split == "train" else 1

    def dtype_of(self, split: str, layer: CacheLayer) -> torch.dtype:
        if layer.segment is None:
            return torch.uint8
        return torch.float32 if layer.pooled else self.precision_of(split)

    def precision_of(self, split: str) -> torch.dtype:
        """What the layers compute in."""
        return torch.float32 if split == "test" else self.dtype

    def shape_of(self, split: str, layer: CacheLayer, rows: int) -> tuple[int, ...]:
        return (self.views_of(split), rows, *layer.row_shape)

    def bytes(self, counts: dict[str, int]) -> int:
        """What all cached layers of all images take; `counts` is split → number of images."""
        return sum(
            math.prod(self.shape_of(split, layer, rows)) * self.dtype_of(split, layer).itemsize
            for split, rows in counts.items()
            for layer in self.layers
            if layer.cached
        )

    def key(self, images: ImageDataset, split: str, layer: CacheLayer) -> dict:
        """The JSON key of a layer: whatever changes a value changes the key, so none is stale.

        Labels, classes and other splits are not in it: they change no value.
        """
        key = {
            "source": images.source,
            "revision": images.splits[split].revision or images.revision,
            "image_column": images.image_column,
            "split": split,
            "selection": images.splits[split].names_hash,
            "transform": self.transform.to_json(),
            "views": self.views_of(split),
            "seed": self.seed if self.views_of(split) > 1 else None,
            "code": _code(),
        }
        if layer.segment is not None:
            dtype = dtype_name(self.dtype_of(split, layer))
            key |= {"body": self.body, "cut": layer.block, "dtype": dtype}
        if layer.pooled:
            key["pooled"] = True
        return key


@cache
def _code() -> str:
    """A hash of what turns a file into pixels: our code, Pillow's version and its formats."""
    digest = hashlib.sha256(PIL.__version__.encode())
    digest.update(" ".join(sorted(formats())).encode())
    package = Path(__file__).parents[1]
    for file in ("data/greys.py", "data/image.py", "data/transform.py", "features/extract.py"):
        digest.update((package / file).read_bytes())
    return digest.hexdigest()


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
