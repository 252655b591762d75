"""scikit-learn's 1,797 handwritten digits, which need no download."""

import numpy as np
from PIL import Image, ImageOps

from transfer.data.dataset import ImageDataset, Split
from transfer.errors import ImageError

SCAN, USUAL_WIDTH, STROKE = 32, 24, 12  # pixels of the scans that the digits were made from


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

    The drawing is cropped, fitted into 32 x 32 and averaged over cells of 4 x 4, as the digits were
    made. Nearly all of them are six of eight cells wide, so that a narrower drawing, unless it is a
    single stroke, is made as wide. Raises ImageError when nothing is drawn.
    """
    ink = ImageOps.invert(drawing.convert("L"))  # 0 is paper
    box = ink.point(lambda value: 255 if value > 64 else 0).getbbox()
    if box is None:
        raise ImageError("expected a drawing, found an empty canvas; draw one large digit")
    cut = ink.crop(box)
    scale = SCAN / max(cut.size)
    width, height = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    if width > STROKE:
        width = max(width, USUAL_WIDTH)
    frame = Image.new("L", (SCAN, SCAN))
    fitted = cut.resize((width, height), Image.Resampling.BOX)
    frame.paste(fitted, ((SCAN - width) // 2, (SCAN - height) // 2))
    return np.asarray(frame.resize((8, 8), Image.Resampling.BOX))
