import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from transfer.data import image as module
from transfer.data.image import load_image
from transfer.errors import ImageError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FRAMES = [Image.new("RGB", (16, 8), colour) for colour in (GREEN, RED)]


def stored(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def close(found, expected, tolerance: int = 4) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= tolerance


def refusal(picture) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(picture)
    return str(caught.value)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def photo() -> Image.Image:
    """16 x 8 px, left half red, right half blue."""
    image = Image.new("RGB", (16, 8), RED)
    image.paste(BLUE, (8, 0, 16, 8))
    return image


def test_every_kind_of_input_is_the_same_picture_and_stays_as_it_was(tmp_path):
    path, given = tmp_path / "photo.png", photo()
    photo().save(path)
    for picture in (path, str(path), path.read_bytes(), np.array(photo()), given):
        assert np.array_equal(load_image(picture), np.array(photo()))
    load_image(given).paste(GREEN, (0, 0, 16, 8))
    assert given.getpixel((0, 0)) == RED
    opened = Image.open(io.BytesIO(stored(Image.new("RGB", (800, 600), RED), "JPEG")))
    assert load_image(opened, side=100).size == opened.size == (800, 600)


@pytest.mark.parametrize(
    ("orientation", "kind", "size", "first", "last"),
    [
        (2, "PNG", (16, 8), BLUE, RED),
        (6, "JPEG", (8, 16), RED, BLUE),
        (8, "JPEG", (8, 16), BLUE, RED),
    ],
)
def test_exif_rotation_is_applied_once(kind, orientation, size, first, last):
    image = load_image(stored(photo(), kind, exif=turned(orientation), quality=95))
    assert image.size == load_image(image).size == size
    assert close(image.getpixel((1, 1)), first, 40)
    assert close(image.getpixel((size[0] - 2, size[1] - 2)), last, 40)


def test_a_damaged_exif_block_is_ignored():
    complete = stored(photo(), "JPEG", exif=turned(6), quality=95)
    start = complete.index(b"Exif") + 6
    assert load_image(complete[:start] + bytes(8) + complete[start + 8 :]).size == (16, 8)


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (stored(photo().convert("CMYK"), "TIFF"), RED, BLUE),
        (stored(photo().quantize(2), "PNG"), RED, BLUE),
        (stored(photo(), "PNG", transparency=BLUE), RED, WHITE),
        (stored(Image.new("L", (16, 8), 77), "PNG"), (77,) * 3, (77,) * 3),
        (stored(Image.new("LAB", (16, 8), (255, 128, 128)), "TIFF"), WHITE, WHITE),
        (stored(Image.new("RGBA", (16, 8), (0, 0, 255, 128)), "PNG"), (127, 127, 255), None),
        (stored(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), GREEN, None),
    ],
    ids=["cmyk", "palette", "transparent", "grey", "lab", "rgba", "first frame"],
)
def test_every_mode_becomes_rgb_on_white(data, left, right):
    image = load_image(data)
    assert image.mode == "RGB"
    assert close(image.getpixel((1, 4)), left, 8)
    assert close(image.getpixel((14, 4)), right or left, 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.uint16([0, 257, 12_850, 32_896, 65_535]), [0, 1, 50, 128, 255]),
        (np.float32([0, 0.25, 1]), [0, 64, 255]),
        (np.float32([0, 63.8, 255]), [0, 64, 255]),
        (np.float32([-3, float("nan"), 1]), [0, 0, 255]),
    ],
    ids=["16 bits", "0…1", "0…255", "out of range"],
)
def test_deep_greys_are_scaled_to_8_bits(values, expected):
    image = Image.fromarray(values[None])
    assert np.array(load_image(stored(image, "TIFF")))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"Dear diary, today I saw a bee.", "not an image"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"  <?xml version='1.0'?><SVG xmlns='http://www.w3.org/2000/svg'></SVG>", "SVG"),
        (b"", "empty"),
        (stored(Image.effect_noise((64, 64), 50), "JPEG")[:2000], "damaged"),
    ],
    ids=["text", "html", "svg", "empty", "cut off"],
)
def test_what_is_not_a_picture_is_refused_without_its_path(tmp_path, content, word):
    path = tmp_path / "bee.jpg"
    path.write_bytes(content)
    assert word in refusal(path)
    assert word in refusal(content)
    assert str(tmp_path) not in refusal(path) and "bee.jpg" not in refusal(path)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_jpegs_of_large_phones_are_decoded_at_an_eighth(kind, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 10_000)
    monkeypatch.setattr(module, "MAX_JPEG_PIXELS", 40_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)  # Pillow itself refuses twice as many
    for size in ((160, 80), (240, 160)):
        data = stored(Image.new("RGB", size, BLUE), kind)
        image = load_image(data)
        assert image.size == (size[0] // 8, size[1] // 8) and close(image.getpixel((0, 0)), BLUE)
        assert module.stored_size(data) == size
        assert "make the image smaller" in refusal(stored(Image.new("RGB", size), "PNG"))
    assert "make the image smaller" in refusal(stored(Image.new("RGB", (300, 200)), kind))
    opened = Image.open(io.BytesIO(stored(Image.new("RGB", (160, 80)), kind)))
    assert "make the image smaller" in refusal(opened) and opened.size == (160, 80)


def test_too_many_pixels_are_refused_by_the_header_alone():
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 10_001, 10_000, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 8) + b"IDAT" + bytes(8)
    assert "at most 100 million pixels" in refusal(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF"])
def test_any_damage_gives_a_picture_or_an_image_error(kind):
    data = stored(photo(), kind)
    random = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(data)
        for at in random.integers(0, min(len(data), 200), size=3):
            damaged[at] = random.integers(256)
        with contextlib.suppress(ImageError):
            assert load_image(bytes(damaged)).mode == "RGB"


def test_postscript_is_not_run(monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program started"))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert "not an image" in refusal(script)


def test_a_long_comment_does_not_cost_a_picture():
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "x" * 3_000_000, zip=True)
    assert load_image(stored(photo(), "PNG", pnginfo=info)).size == photo().size
    info.add_text("bomb", "x" * 40_000_000, zip=True)
    assert "damaged" in refusal(stored(photo(), "PNG", pnginfo=info))
