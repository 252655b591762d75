"""What a training is about to do: what it keeps of every image, and how long it will take."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from transfer.cache.paths import cache_errors
from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.transform import Transform
from transfer.device import DTYPES, free_memory, images_a_batch
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.features.extract import seconds_a_pass
from transfer.model.vgg import Network, Segment
from transfer.settings import TrainingSettings

IMAGES_A_PASS = 64
IMAGES_A_STEP = 128
TRIAL_BYTES = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`cut` is the block whose input is kept: below it the network never runs again; `why` says
    so in a sentence. `rows_a_batch` images pass the frozen layers at once."""

    spec: CacheSpec
    cut: str
    why: str
    rows_a_batch: int

    def level(self, block: str) -> CacheLayer:
        return next(level for level in self.spec.levels if level.block == block)

    def at_once(self, block: str, device: torch.device) -> int:
        """How many images each process may learn from at once, from where `block` begins."""
        fitting = images_a_batch(widest(self.level(block)), device, IMAGES_A_STEP)
        return broadcast_object_list([fitting])[0]


def widest(level: CacheLayer) -> int:
    """Values of one image in the widest layer above this level.

    A block's first convolution at most doubles what enters it; block1's makes 64 of 3.
    """
    values = math.prod(level.row_shape)
    return 64 * values // 3 if level.block == "block1" else 2 * values


def make_plan(
    network: Network,
    body: str,
    transform: Transform,
    settings: TrainingSettings,
    images: ImageDataset,
    store: Store,
    accelerator: Accelerator,
    *,
    fewer_views: bool = False,
    decided: tuple[str, str] | None = None,
) -> Plan:
    """`body` is the body's hash; `fewer_views` than the settings' may be kept where it takes that
    for what enters the lowest unfrozen block to fit. `decided` are the cut and why, where an
    earlier part of the training has settled them. Of several processes the main one decides.
    """
    counts, views = images.counts(), settings.views

    def spec(cut: str) -> CacheSpec:
        return CacheSpec(
            transform=transform,
            views=views,
            seed=settings.seed,
            body=body,
            dtype=DTYPES[accelerator.mixed_precision],
            levels=_levels(network, cut, transform),
        )

    while fewer_views and views > 1 and spec(settings.unfreeze).bytes(counts) > store.limit:
        views //= 2
    cut, why = decided or choose_cut(
        settings.unfreeze,
        needed=lambda cut: spec(cut).bytes(counts),
        limit=store.limit,
        memory=free_memory(torch.device("cpu")),
        faster_from_disk=lambda needed: _faster_from_disk(
            needed / _passes(spec(settings.unfreeze), counts),
            spec(settings.unfreeze),
            images,
            store,
            accelerator.device,
        ),
    )
    lowest = _levels(network, cut, transform)[0]
    passes = images_a_batch(widest(lowest), accelerator.device, IMAGES_A_PASS)
    rows = max(1, passes // views)
    if views > 1 and not decided:
        why += f", in {views} views of every training image"
    cut, why, views, rows = broadcast_object_list([cut, why, views, rows])
    return Plan(spec=spec(cut), cut=cut, why=why, rows_a_batch=rows)


def _passes(spec: CacheSpec, counts: dict[str, int]) -> int:
    """How many views of images there are."""
    return max(1, sum(rows * spec.views_of(split) for split, rows in counts.items()))


def _levels(network: Network, cut: str, transform: Transform) -> tuple[CacheLayer, ...]:
    """Pixels, what enters `cut`, and what leaves the body; each is kept but needless pixels."""
    side = transform.image_size
    levels = [CacheLayer(block="block1", row_shape=(3, side, side), kept=cut == "block1")]
    if cut not in ("block1", "none"):
        levels.append(
            CacheLayer(
                block=cut,
                row_shape=network.border_shape(cut, side),
                stage=Segment(network.prefix(cut), transform),
            )
        )
    rest = network.prefix("none") if cut == "none" else network.tail(cut)
    shape = network.border_shape("none", side)
    return (*levels, CacheLayer(block="none", row_shape=shape, stage=Segment(rest, transform)))


def choose_cut(
    unfreeze: str,
    needed: Callable[[str], int],
    limit: int,
    memory: int,
    faster_from_disk: Callable[[int], bool],
) -> tuple[str, str]:
    """(the block whose input is kept, why): the lowest unfrozen one, unless that does not pay.

    What enters a low block is many times larger than the pixels. Pixels are kept instead, and the
    frozen blocks run anew in each epoch, where `needed(block)` bytes are more than `limit`, or
    more than `memory` on a disk from which they come slower than they are computed.
    """
    size = needed(unfreeze)
    what = "the body's output" if unfreeze == "none" else f"what enters {unfreeze}"
    kept = f"{what} is kept ({_size(size)})"
    if unfreeze == "none":  # pixels would come on top of it
        return "none", kept
    if unfreeze == "block1":
        return "block1", f"pixels are kept ({_size(size)}), for every block learns"
    pixels = f"pixels are kept ({_size(needed('block1'))}): {what} would take {_size(size)}"
    if size > limit:
        return "block1", f"{pixels}, more than the cache may hold ({_size(limit)})"
    if size > memory and not faster_from_disk(size):
        return "block1", f"{pixels}, more than the free memory, on a disk slower than computing it"
    return unfreeze, kept


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _faster_from_disk(
    bytes_a_pass: float,
    spec: CacheSpec,
    images: ImageDataset,
    store: Store,
    device: torch.device,
) -> bool:
    computed = seconds_a_pass(images, spec, store, "train", device)
    return bytes_a_pass / _disk_bytes_a_second(store.folder) < computed


def _disk_bytes_a_second(folder: Path) -> float:
    """How fast a file reaches the disk."""
    trial, started = folder / f"trial-{os.getpid()}", time.monotonic()
    try:
        with cache_errors(), trial.open("wb") as file:
            file.write(os.urandom(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        trial.unlink(missing_ok=True)
    return TRIAL_BYTES / (time.monotonic() - started)
