"""scikit-learn's 1,797 handwritten digits, which need no download."""

import math

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from transfer.data.dataset import ImageDataset, Split
from transfer.errors import ImageError

SCAN, USUAL_WIDTH, STROKE = 32, 24, 6  # pixels of the scans that the digits were made from
LEAST_INK, MOST_INK = 280, 350  # pixels of a scan; the digits have 313, with a deviation of 34
FINER = 4  # times finer than a scan, strokes become thinner or thicker


def open_digits() -> ImageDataset:
    """Alpaydin and Kaynak's test digits (UCI, 1998): grey, 8 x 8 px, ten classes."""
    from sklearn import __version__
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    split = Split(
        labels=digits.target.astype(np.int64),
        names=tuple(f"digit {i}" for i in range(len(images))),
        read=lambda i: images[i],
    )
    return ImageDataset(
        source="digits",
        revision=f"scikit-learn {__version__}",
        classes=tuple(str(digit) for digit in range(10)),
        splits={"train": split},
        image_column="images",
        label_column="target",
    )


def as_digit(drawing: Image.Image) -> np.ndarray:
    """A dark drawing on white, RGB of any size → uint8 (8, 8) like the digits: bright on black.

    NIST's programs made the digits: each was cut out, fitted into 32 x 32 and counted in cells of
    4 x 4. They are all as high as that, nearly all three quarters as wide, and their ink covers
    about the same area. So is a drawing: its width comes halfway (in ratios) to the usual one, and
    strokes thinner or thicker than usual grow or shrink. Raises ImageError when nothing is drawn.
    """
    ink = ImageOps.invert(drawing.convert("L"))  # 0 is paper
    box = ink.point(lambda value: 255 if value > 64 else 0).getbbox()
    if box is None:
        raise ImageError("expected a drawing, found an empty canvas; draw one large digit")
    cut, side = ink.crop(box), SCAN * FINER
    width = math.sqrt(cut.width / cut.height * SCAN * USUAL_WIDTH)
    width = round(FINER * min(max(width, STROKE), SCAN))
    frame = Image.new("L", (side, side))
    frame.paste(cut.resize((width, side), Image.Resampling.BOX), ((side - width) // 2, 0))
    dark = np.asarray(frame).mean() / 255 * SCAN * SCAN
    scan = _of_ink(frame, round(min(max(dark, LEAST_INK), MOST_INK) * FINER * FINER))
    cells = scan.reshape(8, side // 8, 8, side // 8).mean(axis=(1, 3))  # shares of ink, (8, 8)
    return np.round(255 * cells).astype(np.uint8)


def _of_ink(frame: Image.Image, pixels: int) -> np.ndarray:
    """The strokes on a black frame, thinner or thicker so that they cover about as many pixels:
    bool, (height, width) of the frame."""
    near = np.asarray(frame.filter(ImageFilter.GaussianBlur(FINER)))  # brightest within a stroke
    least = np.partition(near, -pixels, axis=None)[-pixels]
    return near >= max(least, 1)
