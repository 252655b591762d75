import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from transfer.data import image
from transfer.data.image import load_image
from transfer.errors import ImageError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def stored(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def close(found, expected, tolerance: int = 4) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= tolerance


def refusal(picture) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(picture)
    assert "\n" not in str(caught.value)
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


def test_a_file_its_name_its_bytes_an_array_and_a_pil_image_are_the_same_picture(tmp_path):
    path = tmp_path / "photo.png"
    photo().save(path)
    for picture in (path, str(path), path.read_bytes(), np.array(photo()), photo()):
        assert np.array_equal(load_image(picture), np.array(photo()))


def test_the_given_image_is_left_as_it_was():
    given = photo()
    load_image(given).paste(GREEN, (0, 0, 16, 8))
    assert given.getpixel((0, 0)) == RED


# what stands at the left and at the right or, once turned, at the top and at the bottom
@pytest.mark.parametrize(
    ("orientation", "size", "first", "last"),
    [
        (1, (16, 8), RED, BLUE),
        (2, (16, 8), BLUE, RED),
        (3, (16, 8), BLUE, RED),
        (4, (16, 8), RED, BLUE),
        (5, (8, 16), RED, BLUE),
        (6, (8, 16), RED, BLUE),
        (7, (8, 16), BLUE, RED),
        (8, (8, 16), BLUE, RED),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_rotation_is_applied(kind, orientation, size, first, last):
    image = load_image(stored(photo(), kind, exif=turned(orientation), quality=95))
    assert image.size == size
    assert close(image.getpixel((1, 1)), first, 40)
    assert close(image.getpixel((size[0] - 2, size[1] - 2)), last, 40)


def test_a_broken_exif_block_does_not_lose_the_picture():
    exif = turned(6)
    exif[ExifTags.Base.Make] = "camera"
    whole = stored(photo(), "JPEG", exif=exif, quality=95)
    make = whole.index(b"\x01\x0f\x00\x02")
    broken = whole[:make] + b"\x01\x0f\x00\x05" + whole[make + 4 :]
    assert load_image(broken).size in ((8, 16), (16, 8))
    assert close(load_image(broken).getpixel((1, 1)), RED, 40)
    start = whole.index(b"Exif") + 6
    noise = whole[:start] + bytes(make + 8 - start) + whole[make + 8 :]
    assert load_image(noise).size == (16, 8)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colours_that_were_meant(kind):
    image = load_image(stored(photo().convert("CMYK"), kind, quality=95))
    assert image.mode == "RGB"
    assert close(image.getpixel((1, 4)), RED, 8)
    assert close(image.getpixel((14, 4)), BLUE, 8)


def test_grey_and_black_and_white_become_rgb():
    assert load_image(stored(Image.new("L", (4, 4), 77), "PNG")).getpixel((0, 0)) == (77,) * 3
    assert load_image(stored(Image.new("1", (4, 4), 1), "PNG")).getpixel((0, 0)) == WHITE


def test_16_bit_grey_is_scaled_not_cut():
    grey = np.array([[0, 257, 12_850, 32_896, 65_278, 65_535]], dtype=np.uint16)
    data = stored(Image.fromarray(grey), "PNG")
    assert Image.open(io.BytesIO(data)).mode.startswith("I")
    assert np.array(load_image(data))[0, :, 0].tolist() == [0, 1, 50, 128, 254, 255]


def test_big_endian_16_bit_tiff_is_scaled_too():
    image = Image.new("I;16B", (3, 1))
    for x, value in enumerate((0, 32_896, 65_535)):
        image.putpixel((x, 0), value)
    assert np.array(load_image(stored(image, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 63.8, 255.0], [0, 64, 255]),
        ([-3.0, float("nan"), 1.0], [0, 0, 255]),
    ],
    ids=["0…1", "0…255", "out of range"],
)
def test_float_tiff_is_scaled(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert np.array(load_image(stored(image, "TIFF")))[0, :, 0].tolist() == expected


def test_a_palette_becomes_its_colours():
    data = stored(photo().quantize(2), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "P"
    assert np.array_equal(load_image(data), np.array(photo()))


def test_a_transparent_palette_entry_shows_white():
    image = photo().quantize(2)
    blue = image.getpixel((15, 0))
    found = load_image(stored(image, "PNG", transparency=blue))
    assert found.getpixel((0, 0)) == RED
    assert found.getpixel((15, 0)) == WHITE


def test_a_transparent_colour_of_an_rgb_png_shows_white():
    found = load_image(stored(photo(), "PNG", transparency=BLUE))
    assert (found.getpixel((0, 0)), found.getpixel((15, 0))) == (RED, WHITE)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_rgba_lies_on_white(kind):
    image = Image.new("RGBA", (8, 8), (0, 0, 255, 0))
    image.paste((0, 0, 255, 128), (0, 0, 8, 4))
    found = load_image(stored(image, kind, lossless=True))
    assert close(found.getpixel((4, 1)), (127, 127, 255), 1)
    assert found.getpixel((4, 6)) == WHITE


def test_grey_with_transparency_lies_on_white():
    image = Image.new("LA", (2, 1), (0, 255))
    image.putpixel((1, 0), (0, 0))
    found = load_image(stored(image, "PNG"))
    assert (found.getpixel((0, 0)), found.getpixel((1, 0))) == ((0, 0, 0), WHITE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED, BLUE)]
    data = stored(frames[0], kind, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert close(load_image(data).getpixel((4, 4)), GREEN)


def test_a_webp_is_read():
    assert close(load_image(stored(photo(), "WEBP", lossless=True)).getpixel((0, 0)), RED)


def test_lab_becomes_rgb():
    grey = load_image(stored(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")).getpixel((0, 0))
    assert close(grey, WHITE, 6)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"Dear diary, today I saw a bee.", "no image"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"  <?xml version='1.0'?><SVG xmlns='http://www.w3.org/2000/svg'></SVG>", "SVG"),
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ],
    ids=["text", "html", "svg", "empty", "heic"],
)
def test_what_is_no_picture_is_told(tmp_path, content, word):
    path = tmp_path / "bee.jpg"
    path.write_bytes(content)
    assert word in refusal(path)
    assert word in refusal(content)
    assert str(tmp_path) not in refusal(path) and "bee.jpg" not in refusal(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_truncated_file_is_told(tmp_path, kind, share):
    whole = stored(Image.effect_noise((64, 64), 50), kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refusal(path)
    assert str(tmp_path) not in refusal(path)


def test_a_folder_and_a_missing_file_are_told(tmp_path):
    assert "folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "none.jpg")
    assert str(tmp_path) not in refusal(tmp_path) + refusal(tmp_path / "none.jpg")


def test_a_path_through_a_file_does_not_show_itself(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" not in refusal(tmp_path / "file" / "x.jpg")


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = struct.pack(">I", zlib.crc32(chunk))
    data = struct.pack(">I", 8) + b"IDAT" + b"\0" * 8
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + end + data


@pytest.mark.parametrize("size", [(10_001, 10_000), (30_000, 30_000)], ids=["over", "far over"])
def test_too_many_pixels_are_refused_by_the_header_alone(size):
    assert "at most 100 million pixels" in refusal(png_header(*size))


def test_a_header_within_the_limit_is_not_refused_for_its_size():
    assert "million" not in refusal(png_header(100, 100))


@pytest.mark.parametrize(
    ("picture", "word"),
    [
        (np.zeros((4, 4), dtype=np.int64), "int64"),
        (np.zeros((4, 4, 7), dtype=np.uint8), "(4, 4, 7)"),
        (np.zeros((0, 0, 3), dtype=np.uint8), "without pixels"),
        (None, "NoneType"),
    ],
    ids=["dtype", "shape", "nothing", "none"],
)
def test_what_cannot_be_a_picture_is_told(picture, word):
    assert word in refusal(picture)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_damage_anywhere_gives_a_picture_or_an_image_error(kind):
    whole = stored(photo(), kind)
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in random.integers(0, min(len(whole), 200), size=3):
            damaged[at] = random.integers(256)
        with contextlib.suppress(ImageError):
            assert load_image(bytes(damaged)).mode == "RGB"


def test_heic_is_read_where_pillow_s_plugin_is_installed():
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    wanted = Image.effect_noise((64, 48), 40).convert("RGB")
    file = io.BytesIO()
    heif.from_pillow(wanted).save(file, quality=90)
    found = load_image(file.getvalue())
    assert (found.size, found.mode) == ((64, 48), "RGB")
    assert np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean() < 12


def test_heic_is_told_where_it_is_not(monkeypatch):
    monkeypatch.setattr(image, "_learn_heic", lambda: None)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind not in ("HEIF", "HEIC")])
    with pytest.raises(ImageError, match="install pillow-heif"):
        load_image(b"\x00\x00\x00\x18ftypheic" + bytes(100))


def test_postscript_is_not_run(monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program started"))
    assert "no image" in refusal(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )


def test_what_was_loaded_is_not_turned_again():
    """A picture goes through the loader at every door that it passes."""
    picture = Image.new("RGB", (20, 10), "white")
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=turned(6))
    once = load_image(file.getvalue())
    assert once.size == load_image(once).size == (10, 20)


def test_a_jpeg_that_the_caller_opened_stays_as_large_as_it_is():
    mine = Image.open(io.BytesIO(stored(Image.new("RGB", (800, 600), RED), "JPEG")))
    assert load_image(mine, side=100).size == (800, 600)
    assert mine.size == (800, 600)
