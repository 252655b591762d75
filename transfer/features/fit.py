"""How much is cached of every image, so that all of it fits: from what is best down to the least.

Arithmetic alone, without torch, so that the forecast chooses as the training will.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from transfer.settings import UNFREEZE, TrainingSettings

CHANNELS = dict(zip(UNFREEZE, (3, 64, 128, 256, 512, 512), strict=True))  # of what enters a block
SMALLER_SIZES = (160, 112, 80, 64, 48, 32)  # pixels a side
FLOAT32_BYTES = 4


def border_shape(block: str, image_size: int) -> tuple[int, int, int]:
    """(C, H, W) of what enters `block`, for square images: block5 of 224 px (512, 14, 14)."""
    side = image_size // 2 ** UNFREEZE.index(block)  # each max pool halves it, rounding down
    return (CHANNELS[block], side, side)


@dataclass(frozen=True, kw_only=True)
class CacheChoice:
    """`cut` is the block whose input is cached, besides the output of the body, in `views` views of
    every training image. With `pooled` the output of the body is averaged over its map."""

    image_size: int
    cut: str
    views: int
    pooled: bool = False

    def bytes(self, counts: dict[str, int], item_bytes: int) -> int:
        """Of all images; `item_bytes` is a feature's size in training, float32 in the test."""
        rows = counts["train"] * self.views + counts["validation"]
        features = item_bytes * rows + FLOAT32_BYTES * counts["test"]
        output = math.prod(border_shape("none", self.image_size)) * features
        if self.pooled:  # float32, so that the head sees the same numbers as from the map
            output = CHANNELS["none"] * FLOAT32_BYTES * (rows + counts["test"])
        if self.cut == "none":
            return output
        values = math.prod(border_shape(self.cut, self.image_size))
        return output + values * (rows + counts["test"] if self.cut == "block1" else features)


def cache_choices(
    settings: TrainingSettings, asked: TrainingSettings, cut: str | None = None
) -> Iterator[CacheChoice]:
    """From what is best down: fewer views, then pixels instead of the input of the lowest unfrozen
    block, then pooled features where nothing needs the map, then smaller images.

    `settings` are complete; what `asked` leaves open may be changed. `cut` is that of a resumed
    training.
    """
    sizes = [settings.image_size]
    if asked.image_size is None:
        sizes += [size for size in SMALLER_SIZES if size < settings.image_size]
    views = [settings.views]
    while asked.views is None and views[-1] > 1:
        views.append(views[-1] // 2)
    # the output of the body has no pixels below it that could be cached instead
    unfreeze = settings.unfreeze
    cuts = [cut] if cut else [unfreeze] if unfreeze == "none" else [unfreeze, "block1"]
    for size in sizes:
        for block in dict.fromkeys(cuts):
            for pooled in (False, True) if _needs_no_map(settings) else (False,):
                for number in views:
                    yield CacheChoice(image_size=size, cut=block, views=number, pooled=pooled)


def _needs_no_map(settings: TrainingSettings) -> bool:
    searches = settings.try_heads and settings.method == "finetune"
    return settings.unfreeze == "none" and settings.head.pooling == "avg" and not searches
