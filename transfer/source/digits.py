"""scikit-learn's 1,797 handwritten digits, which come with the library and need no download."""

import numpy as np

from transfer.source.labelled import LabelledImages, Split


def open_digits() -> LabelledImages:
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
    return LabelledImages(
        source="digits",
        revision=f"scikit-learn {__version__}",
        classes=tuple(str(digit) for digit in range(10)),
        splits={"train": split},
        image_column="images",
        label_column="target",
    )
