import numpy as np
import pytest
from PIL import Image, ImageDraw

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


def seven(side: int, corner: int, brush: int, foot: float = 0.2) -> Image.Image:
    """A seven of `side` pixels whose box begins at `corner`, both ways."""
    drawing = Image.new("RGB", (400, 300), "white")
    places = [(corner + x * side, corner + y * side) for x, y in ((0, 0), (0.6, 0), (foot, 1))]
    ImageDraw.Draw(drawing).line(places, fill="black", width=brush, joint="curve")
    return drawing


def test_a_drawing_becomes_a_digit_wherever_large_or_thick_it_is_drawn():
    found = as_digit(seven(200, 40, 14))
    assert (found.shape, found.dtype) == ((8, 8), np.uint8)
    assert np.array_equal(found, as_digit(seven(200, 80, 14)))
    digits = open_digits().splits["train"]
    usual = np.mean([digits.read(i).mean() for i in range(digits.labels.size)])
    for other in (found, as_digit(seven(60, 200, 4)), as_digit(seven(200, 40, 34))):
        assert abs(other.mean() / usual - 1) < 0.15  # neither thinner nor thicker than a digit
        assert np.corrcoef(other.ravel(), found.ravel())[0, 1] > 0.8
        assert other[:, [0, 7]].max() < 255 and other[0].max() > 128 and other[7].max() > 128


def begin(rows: np.ndarray) -> np.ndarray:
    """The first cell of each row with ink."""
    return (rows > 0).argmax(axis=-1)


def test_a_drawing_is_straightened_as_the_digits_were():
    digits = open_digits().splits["train"]
    drawn = [as_digit(seven(200, 40, 20, foot)) for foot in (0, 0.2, 0.4, 0.6)]
    for images in (np.array([digits.read(i) for i in range(digits.labels.size)]), np.array(drawn)):
        apart = np.abs(begin(images[:, 0]) - begin(images[:, 7]))
        assert (apart <= 1).mean() > 0.99


def test_a_stroke_stays_a_stroke_and_nothing_is_no_digit():
    drawing = Image.new("RGB", (200, 100), "white")
    with pytest.raises(ImageError, match="empty canvas"):
        as_digit(drawing)
    drawing.paste("black", (20, 10, 26, 90))
    assert as_digit(drawing)[:, [0, 1, 6, 7]].max() == 0
