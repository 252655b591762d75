"""Choose what is cached of every image: the cut, the views, and how many images run at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.transform import Transform
from transfer.device import DTYPES, free_memory, images_per_batch
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.features.extract import seconds_a_pass
from transfer.formatting import byte_size
from transfer.model.vgg import Network, Segment
from transfer.settings import TrainingSettings

IMAGES_A_PASS = 64
IMAGES_A_STEP = 128


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a plan is made for.

    `body` is the hash of the network's body. With `may_reduce_views` fewer views than the settings'
    are cached where otherwise the input of the lowest unfrozen block would not fit. `decided` is
    (cut, why) of the interrupted training that is resumed.
    """

    network: Network
    body: str
    transform: Transform
    settings: TrainingSettings
    images: ImageDataset
    accelerator: Accelerator
    may_reduce_views: bool = False
    decided: tuple[str, str] | None = None

    def spec(self, cut: str, views: int) -> CacheSpec:
        return CacheSpec(
            transform=self.transform,
            views=views,
            seed=self.settings.seed,
            body=self.body,
            dtype=DTYPES[self.accelerator.mixed_precision],
            layers=_layers(self.network, cut, self.transform),
        )

    def bytes(self, cut: str, views: int) -> int:
        return self.spec(cut, views).bytes(self.images.counts())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`cut` is the block whose input is cached: the network below it runs only once. `why` says so
    in a sentence; `rows_a_batch` images pass the frozen layers at once."""

    spec: CacheSpec
    cut: str
    why: str
    rows_a_batch: int

    def layer(self, block: str) -> CacheLayer:
        """The input of this block; `none` is the output of the body."""
        return next(layer for layer in self.spec.layers if layer.block == block)

    def at_once(self, block: str, device: torch.device) -> int:
        """How many images a process can train on at once, from the input of `block` on."""
        fitting = images_per_batch(widest(self.layer(block)), device, IMAGES_A_STEP)
        return broadcast_object_list([fitting])[0]


def widest(layer: CacheLayer) -> int:
    """How many values the widest layer above this one holds for one image.

    The first convolution of a block at most doubles its input; that of block1 makes 64 channels
    of 3.
    """
    values = math.prod(layer.row_shape)
    return 64 * values // 3 if layer.block == "block1" else 2 * values


def make_plan(request: PlanRequest, store: Store) -> Plan:
    """Choose what is cached. Of several processes the main one decides for all."""
    unfreeze, views = request.settings.unfreeze, request.settings.views
    while request.may_reduce_views and views > 1 and request.bytes(unfreeze, views) > store.limit:
        views //= 2
    cut, why = request.decided or choose_cut(
        unfreeze,
        needed=lambda cut: request.bytes(cut, views),
        limit=store.limit,
        memory=free_memory(torch.device("cpu")),
        faster_from_disk=lambda: _faster_from_disk(request, views, store),
    )
    if views > 1 and not request.decided:
        why += f", in {views} views of every training image"
    # all views of an image run through the frozen layers together
    pixels = request.spec(cut, views).layers[0]
    passes = images_per_batch(widest(pixels), request.accelerator.device, IMAGES_A_PASS)
    rows = max(1, passes // views)
    cut, why, views, rows = broadcast_object_list([cut, why, views, rows])
    return Plan(spec=request.spec(cut, views), cut=cut, why=why, rows_a_batch=rows)


def _layers(network: Network, cut: str, transform: Transform) -> tuple[CacheLayer, ...]:
    """The pixels, the input of `cut` and the output of the body.

    Pixels are cached only at a cut of block1; else they are computed on the way.
    """
    blocks = tuple(dict.fromkeys(("block1", cut, "none")))  # each once, from the pixels up
    return tuple(
        CacheLayer(
            block=block,
            row_shape=network.border_shape(block, transform.image_size),
            segment=Segment(network.between(below, block), transform) if below else None,
            cached=block in (cut, "none"),
        )
        for below, block in zip((None, *blocks), blocks, strict=False)
    )


def choose_cut(
    unfreeze: str,
    needed: Callable[[str], int],
    limit: int,
    memory: int,
    faster_from_disk: Callable[[], bool],
) -> tuple[str, str]:
    """(the block whose input is cached, why): the lowest unfrozen one, unless that does not pay.

    The input of a low block is many times larger than the pixels. Pixels are cached instead, and
    the frozen blocks run again in each epoch, where `needed(block)` is more bytes than `limit`, or
    more than `memory` on a disk that is slower than computing them.
    """
    size = byte_size(needed(unfreeze))
    what = "the output of the body" if unfreeze == "none" else f"the input of {unfreeze}"
    cached = f"{what} is cached ({size})"
    if unfreeze == "none":  # pixels would come on top of it
        return "none", cached
    if unfreeze == "block1":
        return "block1", f"pixels are cached ({size}), as every block is trained"
    pixels = byte_size(needed("block1"))
    instead = f"pixels are cached ({pixels}): {what} would take {size}, more than"
    if needed(unfreeze) > limit:
        return "block1", f"{instead} the cache may hold ({byte_size(limit)})"
    if needed(unfreeze) > memory and not faster_from_disk():
        return "block1", f"{instead} the free memory, on a disk slower than computing it"
    return unfreeze, cached


def _faster_from_disk(request: PlanRequest, views: int, store: Store) -> bool:
    """Whether the input of the lowest unfrozen block is read faster than it is computed again."""
    spec, counts = request.spec(request.settings.unfreeze, views), request.images.counts()
    passes = max(1, sum(rows * spec.views_of(split) for split, rows in counts.items()))
    device = request.accelerator.device
    computing = seconds_a_pass(request.images, spec, store, "train", device)
    return spec.bytes(counts) / passes / store.bytes_a_second() < computing
