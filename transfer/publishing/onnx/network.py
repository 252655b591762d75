"""The network that is exported: a photo of any size → scores and familiarity, all in one graph."""

import torch
from torch import nn

from transfer.data.transform import Transform
from transfer.model.vgg import Network, averaged
from transfer.runs.familiarity import NEIGHBOUR, OTHERS_WEIGHT, Familiarity

BITS = 22  # of the fraction of Pillow's weights
PART = 2 ** (BITS // 2)


class PortableNetwork(nn.Module):
    """Resize, normalisation, body, head, softmax and the comparison with the training photos."""

    def __init__(self, network: Network, transform: Transform, familiarity: Familiarity | None):
        super().__init__()
        self.resize = PillowResize(transform.image_size)
        self.transform, self.network = transform, network
        self.compare = familiarity and Comparison(familiarity)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """RGB, uint8 (N, H, W, 3) → scores float32 (N, classes), each row summing to 1, and, where
        the run has it, familiarity float32 (N,), 0…1."""
        pixels = self.transform.normalise(self.resize(image))  # float32 (N, 3, S, S)
        features = self.network.features(pixels)  # (N, 512, S/32, S/32)
        scores = self.network.head(features).softmax(dim=1)
        if self.compare is None:
            return (scores,)
        return scores, self.compare(averaged(features))


class PillowResize(nn.Module):
    """Pillow's bilinear `Image.resize` to a square, to the pixel, in operations that every runtime
    has.

    When an image is reduced, the triangle filter is as wide as the reduction (antialiasing). Pillow
    (src/libImaging/Resample.c) rounds its weights to BITS bits and sums integers, first along the
    rows. Weights of two parts of 11 bits keep such sums below 2^24, where float32 is exact, for up
    to 32 weights a pixel, that is for reductions to a sixteenth; beyond, a pixel may be one off.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("centres", 2 * torch.arange(size) + 1)  # in halves of a pixel

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Uint8 (N, H, W, 3) → float32 (N, 3, size, size), whole numbers from 0 to 255."""
        pixels = image.permute(0, 3, 1, 2).float()
        high, low = self._weights(image.shape[2])
        pixels = _rounded(pixels @ high.T, pixels @ low.T)  # (N, 3, H, size)
        high, low = self._weights(image.shape[1])
        return _rounded(high @ pixels, low @ pixels)

    def _weights(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The high and the low part of 2^BITS times the weights, float32 (size, length) each.

        In integers, since browsers' builds of ONNX Runtime have no float64: all distances are in
        units of which a pixel of the image has 2 · size, and one of the result 2 · length.
        """
        pixels = 2 * torch.arange(length) + 1
        apart = (pixels[None, :] * self.size - self.centres[:, None] * length).abs()
        width = 2 * torch.ones_like(pixels).sum().clamp(min=self.size)  # of 2 · length, 2 · size
        weights = (width - apart).clamp(min=0)  # int64 (size, length)
        total = weights.sum(dim=1, keepdim=True)
        whole = _quotient(weights * 2 ** (BITS + 1) + total, 2 * total)  # rounded half up
        high = (whole / PART).floor()
        return high, whole - high * PART


def _quotient(number: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
    """⌊number / divisor⌋ of int64 that are not negative, below 2^23, as float32.

    `//` is not exact in the graphs of all versions of torch, and float32 is off by one at most.
    """
    near = (number.float() / divisor.float()).floor()
    rest = number - near.long() * divisor
    return near + (rest >= divisor).float() - (rest < 0).float()


def _rounded(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """⌊(high · PART + low) / 2^BITS + 1/2⌋"""
    carried = ((low + 2 ** (BITS - 1)) / PART).floor()
    return ((high + carried) / PART).floor()


class Comparison(nn.Module):
    """`Familiarity.of` as a graph."""

    def __init__(self, familiarity: Familiarity):
        super().__init__()
        similarities, shares = torch.from_numpy(familiarity.places)
        self.nth = min(NEIGHBOUR, len(familiarity.references))
        self.register_buffer("references", torch.from_numpy(familiarity.references))
        others = familiarity.others
        self.register_buffer("others", None if others is None else torch.from_numpy(others))
        self.register_buffer("similarities", similarities)
        self.register_buffer("shares", shares)

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Averaged outputs of the body, float32 (N, C) → familiarity, float32 (N,)."""
        roots = outputs.clamp(min=0).sqrt()
        length = roots.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
        directions = roots / length
        cosines = directions @ self.references.T  # (N, R)
        similarity = cosines.topk(self.nth, dim=1).values[:, -1]
        if self.others is not None:
            similarity = similarity - OTHERS_WEIGHT * (directions @ self.others.T).amax(dim=1)
        # linear interpolation between two levels
        above = (similarity[:, None] >= self.similarities).sum(dim=1)
        above = above.clamp(1, len(self.similarities) - 1)
        start, end = self.similarities[above - 1], self.similarities[above]
        share = ((similarity - start) / (end - start).clamp(min=1e-12)).clamp(0, 1)
        return self.shares[above - 1].lerp(self.shares[above], share)
