"""The frozen part runs once: pixels and features of every image, kept on disk while a run lasts."""

import math
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import Dataset

from transfer.errors import ImageError, SourceError
from transfer.events import CacheProgress
from transfer.image import load_image
from transfer.network import Network
from transfer.source import Problem, Split
from transfer.transform import Transform, augmented

IMAGES_A_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Cached(Dataset):
    """One split, on disk: whole batches are taken by row.

    `inputs` is a memory-mapped (V, N, …) of V views: uint8 pixels (…, 3, S, S) or features
    (…, C, H, W) in float32, bfloat16 or float16; `rows` int64 (M,) are those that could be read;
    `labels` int64 (M,) and `names` (M) belong to them. View 0 is the plain picture. A batch holds
    a view drawn at random where `random_views`, else view 0.
    """

    inputs: torch.Tensor
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
            views = torch.randint(len(self.inputs), at.shape)
        return self.inputs[views, self.rows[at]], self.labels[at]

    @property
    def views(self) -> int:
        return len(self.inputs)

    @property
    def megabytes(self) -> float:
        return self.inputs.numel() * self.inputs.element_size() / 1e6


def cache_pixels(
    splits: dict[str, Split],
    transform: Transform,
    views: int,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
) -> Iterator[CacheProgress]:
    """Read and resize every image once; returns (split → Cached of uint8 pixels, problems).

    Training images get `views` views, the first one plain, the others randomly cropped and
    mirrored; the other splits have the plain one. An image that cannot be read is a problem and
    takes no part. Each process of a distributed training reads its share.
    """
    total = sum(len(split) for split in splits.values())
    started, done, cached, failed = time.monotonic(), 0, {}, []
    for name, split in splits.items():
        shape = (
            views if name == "train" else 1,
            len(split),
            3,
            transform.image_size,
            transform.image_size,
        )
        pixels = _on_disk(folder / f"pixels-{name}.bin", shape, torch.uint8, accelerator)
        for row in range(accelerator.process_index, len(split), accelerator.num_processes):
            try:
                _read_into(pixels[:, row], split.read(row), transform, f"{seed} {name} {row}")
            except ImageError as error:
                failed.append((name, row, str(error)))
            done += accelerator.num_processes
            yield CacheProgress(
                stage="reading images",
                done=min(done, total),
                total=total,
                seconds=time.monotonic() - started,
            )
        cached[name] = pixels
    accelerator.wait_for_everyone()
    failed = gather_object(failed)
    problems = [Problem(where=splits[name].names[row], why=why) for name, row, why in failed]
    bad = {name: {row for at, row, _ in failed if at == name} for name in splits}
    return {
        name: _labelled(cached[name], split, bad[name], random_views=name == "train")
        for name, split in splits.items()
    }, problems


def _read_into(views: torch.Tensor, picture, transform: Transform, key: str) -> None:
    plain, draw = load_image(picture), random.Random(key)
    for i, view in enumerate(views):
        image = augmented(plain, draw) if i else plain
        view.copy_(torch.from_numpy(transform.resized(image)))


def _labelled(pixels, split: Split, bad: set[int], *, random_views: bool) -> Cached:
    rows = np.array([row for row in range(len(split)) if row not in bad], dtype=np.int64)
    if len(rows) == 0:
        raise SourceError("expected images that can be read, found none; run inspect to see why")
    readable = split.take(rows)
    return Cached(
        inputs=pixels,
        rows=torch.from_numpy(rows),
        labels=torch.from_numpy(readable.labels),
        names=readable.names,
        random_views=random_views,
    )


def cache_features(
    cached: dict[str, Cached],
    layers: nn.Module,
    stage: str,
    folder: Path,
    accelerator: Accelerator,
) -> Iterator[CacheProgress]:
    """Run frozen `layers` once over all images and views; returns split → Cached of features.

    `layers` takes what `cached` holds, uint8 pixels included. Training and validation run in the
    accelerator's precision and are stored in it; test runs and is stored in float32, as an upload
    does, so that what is reported is what is later answered.
    """
    device = accelerator.device
    layers = layers.to(device).eval()
    total = sum(split.views * len(split) for split in cached.values())
    started, done, features = time.monotonic(), 0, {}
    for name, split in cached.items():
        exact = name == "test"
        dtype = torch.float32 if exact else compute_dtype(accelerator)
        precision = nullcontext if exact else accelerator.autocast
        out = None
        for view, rows in _share(split, accelerator):
            with torch.inference_mode(), precision():
                batch = layers(split.inputs[view, rows].to(device))
            if out is None:
                shape = (split.views, split.inputs.shape[1], *batch.shape[1:])
                out = _on_disk(folder / f"{stage}-{name}.bin", shape, dtype, accelerator)
            out[view, rows] = batch.to("cpu", dtype)
            done += len(rows) * accelerator.num_processes
            yield CacheProgress(
                stage=f"features of {stage}",
                done=min(done, total),
                total=total,
                seconds=time.monotonic() - started,
            )
        features[name] = replace(split, inputs=out)
    accelerator.wait_for_everyone()
    return features


def _share(split: Cached, accelerator: Accelerator) -> Iterator[tuple[int, torch.Tensor]]:
    """(view, rows) of this process, a batch at a time; every process gets at least one batch."""
    mine = split.rows[accelerator.process_index :: accelerator.num_processes]
    if len(mine) == 0:
        mine = split.rows[:1]
    for view in range(split.views):
        for rows in mine.split(IMAGES_A_BATCH):
            yield view, rows


def compute_dtype(accelerator: Accelerator) -> torch.dtype:
    """What autocast computes in."""
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return dtypes.get(accelerator.mixed_precision, torch.float32)


def choose_cut(network: Network, unfreeze: str, pixels: dict[str, Cached], folder: Path) -> str:
    """The block whose input is worth caching: the lowest unfrozen one.

    Its features can be many times larger than the pixels; where they would take more than half of
    the free disk, `block1`: pixels are cached and the frozen blocks run anew in each epoch.
    """
    side = pixels["train"].inputs.shape[-1]
    images = sum(split.views * len(split) for split in pixels.values())
    needed = images * math.prod(network.border_shape(unfreeze, side)) * torch.float32.itemsize
    return unfreeze if needed < shutil.disk_usage(folder).free / 2 else "block1"


def check_disk(folder: Path, needed: int) -> None:
    """Raises SourceError when the folder's disk has no room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"expected {needed / 1e9:.1f} GB of free disk for pixels and features, found "
            f"{free / 1e9:.1f} GB; free some, or pass --limit-per-class or a smaller --image-size"
        )


def _on_disk(path: Path, shape: tuple, dtype: torch.dtype, accelerator: Accelerator):
    """A memory-mapped tensor that all processes of this training share."""
    size = math.prod(shape)
    if accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size * dtype.itemsize)
    accelerator.wait_for_everyone()
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(shape)
