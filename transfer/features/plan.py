"""Choose what is cached of every image: the cut, the views, and how many images run at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.transform import Transform
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.features.extract import all_entries, seconds_a_pass
from transfer.features.fit import CacheChoice, border_shape, cache_choices
from transfer.formatting import byte_size
from transfer.machine.device import DTYPES, free_memory, images_per_batch
from transfer.model.vgg import Network, Segment
from transfer.settings import TrainingSettings

IMAGES_A_PASS = 64
IMAGES_A_STEP = 128


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a plan is made for.

    `body` is the hash of the network's body. What `asked` leaves open is reduced where otherwise
    not all images would fit. `decided` is (cut, why) of the interrupted training that is resumed.
    """

    network: Network
    body: str
    settings: TrainingSettings
    asked: TrainingSettings
    images: ImageDataset
    accelerator: Accelerator
    decided: tuple[str, str] | None = None

    def spec(self, choice: CacheChoice) -> CacheSpec:
        return CacheSpec(
            transform=Transform(image_size=choice.image_size, greys=self.images.greys),
            views=choice.views,
            seed=self.settings.seed,
            body=self.body,
            dtype=DTYPES[self.accelerator.mixed_precision],
            layers=tuple(_layers(self.network, choice)),
        )

    def choices(self) -> Iterator[CacheChoice]:
        cut, _ = self.decided or (None, "")
        return cache_choices(self.settings, self.asked, cut)

    def bytes(self, choice: CacheChoice) -> int:
        return self.spec(choice).bytes(self.images.counts())


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
    """Choose what is cached, before any image is. Of several processes the main one decides.

    Raises CacheError where the least that can be cached does not fit.
    """
    chosen = choose(request, store) if request.accelerator.is_main_process else None
    choice, why = broadcast_object_list([chosen])[0]
    spec = request.spec(choice)
    # all views of an image run through the frozen layers together
    passes = images_per_batch(widest(spec.layers[0]), request.accelerator.device, IMAGES_A_PASS)
    rows = broadcast_object_list([max(1, passes // choice.views)])[0]
    return Plan(spec=spec, cut=choice.cut, why=why, rows_a_batch=rows)


def choose(request: PlanRequest, store: Store) -> tuple[CacheChoice, str]:
    """(the best choice that fits, why).

    The input of a low block is many times larger than the pixels. Pixels are cached instead, and
    the frozen blocks run again in each epoch, also where it is larger than the free memory, on a
    disk that is slower than computing it.
    """

    @cache
    def room(choice: CacheChoice) -> int:
        return store.room_for(all_entries(request.images, request.spec(choice), store))

    memory, slow, best = free_memory(torch.device("cpu")), "", None
    for choice in request.choices():
        best = best or choice
        if choice.cut == slow or request.bytes(choice) > room(choice):
            continue
        on_disk = choice.cut not in ("none", "block1") and request.bytes(choice) > memory
        if on_disk and not request.decided and not _faster_from_disk(request, choice, store):
            slow = choice.cut
            continue
        if request.decided:
            return choice, request.decided[1]
        limit = "the free memory, on a disk slower than computing it"
        return choice, _why(request, choice, best, limit if slow else _room_text(room(best)))
    raise store.refusal(request.bytes(choice), room(choice))


def _room_text(room: int) -> str:
    return f"there is room for ({byte_size(max(0, room))})"


def _why(request: PlanRequest, choice: CacheChoice, best: CacheChoice, limit: str) -> str:
    """What is cached, and why it is less than the best."""
    size = byte_size(request.bytes(choice))
    why = f"{_what(choice)} {'are' if choice.cut == 'block1' else 'is'} cached ({size})"
    if request.settings.unfreeze == "block1":
        why += ", as every block is trained"
    why += _details(choice, best)
    if choice != best:
        instead = f"{_what(best)}{_details(best, choice)}"
        why += f": {instead} would take {byte_size(request.bytes(best))}, more than {limit}"
    return why


def _what(choice: CacheChoice) -> str:
    if choice.cut == "none":
        return f"the {'pooled ' * choice.pooled}output of the body"
    return "pixels" if choice.cut == "block1" else f"the input of {choice.cut}"


def _details(choice: CacheChoice, other: CacheChoice) -> str:
    size = f" at {choice.image_size} px" if choice.image_size != other.image_size else ""
    many = choice.views > 1 or choice.views != other.views
    views = f"{choice.views} view{'s' * (choice.views > 1)}"
    return size + (f", in {views} of every training image" if many else "")


def _layers(network: Network, choice: CacheChoice) -> Iterator[CacheLayer]:
    """The pixels, the input of the cut and the output of the body.

    Pixels are cached only at a cut of block1; else they are computed on the way.
    """
    below, transform = None, Transform(image_size=choice.image_size)
    for block in dict.fromkeys(("block1", choice.cut, "none")):  # each once, from the pixels up
        shape = border_shape(block, choice.image_size)
        pooled = choice.pooled and block == "none"
        yield CacheLayer(
            block=block,
            row_shape=(shape[0], 1, 1) if pooled else shape,
            segment=Segment(network.between(below, block), transform) if below else None,
            cached=block in (choice.cut, "none"),
            pooled=pooled,
        )
        below = block


def _faster_from_disk(request: PlanRequest, choice: CacheChoice, store: Store) -> bool:
    """Whether the input of the lowest unfrozen block is read faster than it is computed again."""
    spec, counts = request.spec(choice), request.images.counts()
    passes = max(1, sum(rows * spec.views_of(split) for split, rows in counts.items()))
    device = request.accelerator.device
    computing = seconds_a_pass(request.images, spec, store, "train", device)
    return spec.bytes(counts) / passes / store.bytes_a_second() < computing
