import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from transfer.data.drawings import are_drawings
from transfer.data.image import load_image


def shaded(side: int) -> Image.Image:
    """Like an X-ray: a softly shaded, grainy body on a large black background."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    body = 230 * np.sqrt(np.clip(1 - (x / 0.35) ** 2 - (y / 0.45) ** 2, 0, None))
    grain = np.random.default_rng(0).normal(0, 3, body.shape) * (body > 0)
    return Image.fromarray((body + grain).clip(0, 255).astype(np.uint8)).convert("RGB")


def letter(side: int, ink="black", paper="white") -> Image.Image:
    image = Image.new("RGB", (side, side), paper)
    font = ImageFont.load_default(side * 0.8)
    ImageDraw.Draw(image).text((side * 0.2, 0), "R", fill=ink, font=font)
    return image


def page(paper: int = 245) -> Image.Image:
    image = Image.new("RGB", (300, 300), (paper,) * 3)
    for top in range(0, 300, 20):
        ImageDraw.Draw(image).text(
            (5, top), "It was a dark and stormy night; the rain", fill=(40,) * 3
        )
    return image


def line_art() -> Image.Image:
    image = Image.new("RGB", (600, 600), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((50, 80, 500, 400), outline="black", width=8)
    pen.line((10, 590, 300, 20, 580, 500), fill="black", width=8)
    return image.resize((200, 200), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return load_image(file.getvalue())


@pytest.mark.parametrize(
    "image",
    [
        *(letter(side) for side in (28, 96, 512)),
        ImageOps.invert(letter(28)),
        letter(96, ink="red", paper="gold"),
        letter(512).filter(ImageFilter.GaussianBlur(3)),
        *(jpeg(drawn, 40) for drawn in (letter(96), page(), line_art())),
    ],
)
def test_few_tones_with_sharp_edges_are_drawings(image):
    assert are_drawings([image])


@pytest.mark.parametrize("side", [28, 64, 512])
def test_soft_gradients_are_photos_though_grey_small_or_mostly_black(side):
    image = shaded(side)
    assert not are_drawings([image]) and not are_drawings([jpeg(image, 60)])
    assert not are_drawings([ImageOps.expand(image, side // 2)])


def test_most_pictures_decide():
    assert are_drawings([letter(64), letter(64), shaded(64)])
    assert not are_drawings([letter(64), shaded(64), shaded(64)])
