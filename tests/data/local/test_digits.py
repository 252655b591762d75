import numpy as np
import pytest
from PIL import Image

from transfer.data.image import load_image
from transfer.data.local.digits import as_digit, open_digits
from transfer.errors import ImageError


def test_ten_classes_and_1797_images_in_one_split():
    images = open_digits()
    assert images.source == "digits" and "scikit-learn" in images.revision
    assert images.classes == tuple("0123456789")
    assert images.counts() == {"train": 1797}
    assert min(images.class_counts().values()) >= 174
    assert images.splits["train"].labels.dtype == np.int64
    assert images.problems == ()


def test_the_pictures_belong_to_their_labels_and_use_the_whole_range():
    from sklearn.datasets import load_digits

    digits, split = load_digits(), open_digits().splits["train"]
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


def test_a_stroke_becomes_bright_on_black_in_the_frame_with_its_proportions():
    found = as_digit(bar((20, 10, 30, 50)))
    assert (found.shape, found.dtype) == ((8, 8), np.uint8)
    assert found[:, 3:5].min() == 255
    assert found[:, :3].max() == found[:, 5:].max() == 0


def test_what_is_more_than_a_stroke_becomes_as_wide_as_the_digits_are():
    found = as_digit(bar((20, 10, 40, 50)))
    assert found[:, 1:7].min() == 255
    assert found[:, [0, 7]].max() == 0
    wide = as_digit(bar((20, 10, 60, 50)))
    assert wide.min() == 255
    split = open_digits().splits["train"]
    pictures = np.stack([split.read(i) for i in range(1797)])
    assert pictures[..., [0, 7]].mean() < 0.1 * pictures[..., 1:7].mean()


def test_place_and_size_of_a_drawing_do_not_matter():
    assert np.array_equal(as_digit(bar((20, 10, 30, 50))), as_digit(bar((150, 10, 170, 90))))


def test_an_empty_canvas_is_told():
    with pytest.raises(ImageError, match="empty canvas"):
        as_digit(Image.new("RGB", (200, 100), "white"))
