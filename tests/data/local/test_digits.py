import numpy as np
import pytest
from PIL import Image

from transfer.data.image import load_image
from transfer.data.local.digits import as_digit, open_digits
from transfer.errors import ImageError


def test_the_pictures_belong_to_their_labels_and_use_the_full_range():
    from sklearn.datasets import load_digits

    digits, images = load_digits(), open_digits()
    assert images.classes == tuple("0123456789") and images.counts() == {"train": 1797}
    split = images.splits["train"]
    for i in (0, 7, 1796):
        picture = np.array(load_image(split.read(i)))
        assert picture.shape == (8, 8, 3)
        assert np.array_equal(picture[..., 0], np.round(digits.images[i] * 255 / 16))
        assert split.labels[i] == digits.target[i]
    assert max(split.read(i).max() for i in range(20)) == 255


def bar(box: tuple[int, int, int, int]) -> Image.Image:
    drawing = Image.new("RGB", (200, 100), "white")
    drawing.paste("black", box)
    return drawing


def test_a_drawing_becomes_a_digit_wherever_it_is_drawn():
    stroke, wide = as_digit(bar((20, 10, 30, 50))), as_digit(bar((20, 10, 40, 50)))
    assert (stroke.shape, stroke.dtype) == ((8, 8), np.uint8)
    assert stroke[:, 3:5].min() == 255 and stroke[:, :3].max() == stroke[:, 5:].max() == 0
    assert wide[:, 1:7].min() == 255 and wide[:, [0, 7]].max() == 0
    assert np.array_equal(stroke, as_digit(bar((150, 10, 170, 90))))
    with pytest.raises(ImageError, match="empty canvas"):
        as_digit(Image.new("RGB", (200, 100), "white"))
