"""Pictures of more than 8 bits a channel → 8 bits, on one scale for a whole dataset.

A file of 16 bits may hold 10, 12, 14 or 16, and floats end at 1, at 255 or elsewhere. A picture's
own maximum does not tell a dark picture from a small range, so several pictures decide together.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

INTEGER_WHITES = (255, 1_023, 4_095, 16_383, 65_535)  # of 8, 10, 12, 14 and 16 bits
FLOAT_WHITES = (1, *INTEGER_WHITES)
OVERSHOOT = 1.1  # times white: bicubic resizing makes floats a little brighter
DARKEST = 1 / 8  # of white: the brightest float in a dataset is no darker
FEW = 0.1  # percent of the pixels, at each end
MOST_VALUES = 1_000_000  # looked at in a picture
TIFF_BITS, TIFF_WHITES = 258, (281, 341)  # BitsPerSample; MaxSampleValue, SMaxSampleValue
SAYS_NOTHING = 32_767  # and more: what a TIFF of 16 bits or floats states by default
DEEP_COLOURS = (";16B", ";16L", ";16N")  # in Pillow's names of raw modes, as in RGB;16B

Range = tuple[float, float]  # the values that become black and white


@dataclass(frozen=True, kw_only=True)
class GreyScale:
    """What becomes black and white where a channel has more than 8 bits; None: it is guessed from
    each picture. Whole numbers and floats have a range each, for a dataset may hold both."""

    integers: Range | None = None
    floats: Range | None = None

    @classmethod
    def from_json(cls, data: dict) -> "GreyScale":
        """Raises ValueError and the like when it holds no ranges."""
        found = {kind: value and tuple(map(float, value)) for kind, value in data.items()}
        for black, white in filter(None, found.values()):
            if not (math.isfinite(white - black) and black < white):
                raise ValueError("greys must go from black to white")
        return cls(**found)

    def lines(self) -> Iterator[tuple[str, str]]:
        """(which pictures, how they are scaled)."""
        for kind, found in (("16-bit", self.integers), ("float", self.floats)):
            if found:
                yield f"{kind} greys", f"{found[0]:.8g}…{found[1]:.8g} is scaled to 0…255"


PER_PICTURE = GreyScale()


class Extent(NamedTuple):
    """How far the values of pictures go: the lowest and highest but FEW, and the `top` of all, all
    finite; `white` is what the file says that white is, 0 where it does not."""

    floats: bool
    low: float
    high: float
    top: float
    white: float

    @classmethod
    def of(cls, values: np.ndarray, white: float) -> "Extent":
        """Of numbers (H, W) or (H, W, C), of which the first three channels count: a fourth is how
        opaque it is."""
        values = values[..., :3] if values.ndim == 3 else values
        step = 1 + math.isqrt(values.size // MOST_VALUES)
        finite = values[::step, ::step]
        finite = finite[np.isfinite(finite)].astype(np.float64)
        ends = np.percentile(finite, (FEW, 100 - FEW)) if finite.size else (0, 0)
        return cls(values.dtype.kind == "f", *map(float, ends), float(finite.max(initial=0)), white)

    @classmethod
    def join(cls, extents: Iterable["Extent"]) -> "Extent":
        floats, low, *ends = zip(*extents, strict=True)
        return cls(any(floats), min(low), *map(max, ends))

    def range(self) -> Range:
        """(black, white)."""
        white = self._white()
        if self.low >= (1 - OVERSHOOT) * white:
            return 0.0, white
        mirrored = white == 1 and self.low >= -OVERSHOOT
        return (-1.0 if mirrored else self.low), white

    def _white(self) -> float:
        whites, over, least = INTEGER_WHITES, 1, 0
        if self.floats:
            whites, over, least = FLOAT_WHITES, OVERSHOOT, DARKEST
        for end in (max(self.top, self.white), max(self.high, self.white)):
            for white in whites:
                if white * least < end <= white * over:
                    return float(white)
        return end if end > 0 else float(whites[-1])


def is_deep(image: Image.Image) -> bool:
    """Whether the file of an image that is not yet decoded has more than 8 bits a channel. Of
    colours Pillow then decodes the upper 8."""
    raw = str([tile[-1] for tile in getattr(image, "tile", ())])
    return image.mode[:1] in ("I", "F") or any(kind in raw for kind in DEEP_COLOURS)


def declared_white(image: Image.Image) -> float:
    """The brightest value by the header of an image that is not yet decoded; 0 if it has none.

    A PNG of 16 bits says by sBIT how many are used, a TIFF by three tags. Pillow scales PGM to 16.
    """
    with suppress(AttributeError, IndexError, OSError, TypeError, ValueError):
        if image.format == "PNG":
            at, _ = image.fp.tell(), image.fp.seek(0)
            header = image.fp.read(at)
            image.fp.seek(at)
            return float(2 ** min(16, header[header.index(b"sBIT") + 4]) - 1)
        if image.format == "TIFF":
            tags = image.tag_v2
            stated = [float(np.max(tags[tag])) for tag in TIFF_WHITES if tag in tags]
            stated.append(2.0 ** np.min(tags[TIFF_BITS]) - 1)
            return max((white for white in stated if white < SAYS_NOTHING), default=0.0)
        if image.format == "PPM":
            return 65_535.0
    return 0.0


def deep_values(image: Image.Image) -> np.ndarray:
    """A decoded deep image → its numbers, (H, W) or (H, W, C); colours as if all 16 bits were
    known."""
    values = np.asarray(image)
    return values * np.uint16(257) if values.dtype == np.uint8 else values


def to_8_bits(values: np.ndarray, white: float, greys: GreyScale | None) -> np.ndarray:
    """Numbers (H, W) or (H, W, C) → uint8 of that shape. NaN becomes black, infinity white.

    `white` is what the file says; with `greys` None the picture's maximum decides, as it did before
    datasets had a scale.
    """
    floats = values.dtype.kind == "f"
    if greys is None:
        top = values.max(initial=0, where=np.isfinite(values))
        black, white = 0, 1 if floats and top <= 1 else 65_535 if top > 255 else 255
    else:
        found = greys.floats if floats else greys.integers
        black, white = found or Extent.of(values, white).range()
    values = np.nan_to_num(values.astype(np.float32), nan=black, posinf=white, neginf=black)
    scaled = (values - black) * np.float32(255 / (white - black))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)
