"""What the tests of this folder cache: pixels, the input of block5 and the body's output."""

import torch

from tests.tiny import SIDE, tiny_network
from transfer.data.transform import Transform
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.model.vgg import Segment

TRANSFORM, NETWORK = Transform(image_size=SIDE), tiny_network()


def layer(below: str, block: str, shape: tuple[int, ...]) -> CacheLayer:
    segment = Segment(NETWORK.between(below, block), TRANSFORM)
    return CacheLayer(block=block, row_shape=shape, segment=segment)


PIXELS = CacheLayer(block="block1", row_shape=(3, SIDE, SIDE))
BLOCK5 = layer("block1", "block5", (512, 2, 2))
LAYERS = (PIXELS, BLOCK5, layer("block5", "none", (512, 1, 1)))
SPEC = CacheSpec(
    transform=TRANSFORM, views=3, seed=0, body="ab" * 32, dtype=torch.bfloat16, layers=LAYERS
)
