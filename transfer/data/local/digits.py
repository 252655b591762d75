"""scikit-learn's 1,797 handwritten digits, which need no download."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from transfer.data.dataset import ImageDataset, Split
from transfer.errors import ImageError

SCAN, WIDTH = 32, 20  # pixels of the scans that the digits were made from, and of a digit in them
EDGE = 3  # rows of a scan
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

    NIST's programs made the digits (Garris et al. 1994, NISTIR 5469), and so is a drawing treated:
    it is cut out, stretched to 20 x 32 px in the middle of 32 x 32, straightened by a shear and
    counted in cells of 4 x 4. Strokes thinner or thicker than usual grow or shrink. Raises
    ImageError when nothing is drawn.
    """
    ink = ImageOps.invert(drawing.convert("L"))  # 0 is paper
    box = ink.point(lambda value: 255 if value > 64 else 0).getbbox()
    if box is None:
        raise ImageError("expected a drawing, found an empty canvas; draw one large digit")
    side, width = SCAN * FINER, WIDTH * FINER
    frame = Image.new("L", (side, side))
    stretched = ink.crop(box).resize((width, side), Image.Resampling.BOX)
    frame.paste(stretched, ((side - width) // 2, 0))
    frame = _straightened(frame)
    dark = np.asarray(frame).mean() / 255 * SCAN * SCAN
    scan = _of_ink(frame, round(min(max(dark, LEAST_INK), MOST_INK) * FINER * FINER))
    cells = scan.reshape(8, side // 8, 8, side // 8).mean(axis=(1, 3))  # shares of ink, (8, 8)
    return np.round(255 * cells).astype(np.uint8)


def _straightened(frame: Image.Image) -> Image.Image:
    """Rows moved sideways, in proportion to their distance from the middle, until the strokes at
    the bottom begin right below those at the top; of a seven the bar moves right, the foot left."""
    ink = np.asarray(frame) > 0
    edge = EDGE * FINER
    top, bottom = (rows.any(axis=0).argmax() for rows in (ink[:edge], ink[-edge:]))
    slope = (bottom - top) / (frame.height - edge)  # to the right, a row
    shear = (1, slope, -slope * frame.height / 2, 0, 1, 0)
    return frame.transform(frame.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)


def _of_ink(frame: Image.Image, pixels: int) -> np.ndarray:
    """The strokes on a black frame, thinner or thicker so that they cover about as many pixels:
    bool, (height, width) of the frame."""
    near = np.asarray(frame.filter(ImageFilter.GaussianBlur(FINER)))  # brightest within a stroke
    least = np.partition(near, -pixels, axis=None)[-pixels]
    return near >= max(least, 1)
