import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.checks.pictures import copied, photo, saved
from transfer.data.checks import fingerprints
from transfer.data.checks.fingerprints import Fingerprints
from transfer.data.image import load_image


def prints(*pictures) -> Fingerprints:
    """Of pictures or their bytes; None stands for one that could not be read."""
    found = Fingerprints(len(pictures))
    for row, picture in enumerate(pictures):
        if picture is not None:
            found.add(row, load_image(picture))
    return found


def grouped(*pictures) -> list[list[int]]:
    groups, complete = prints(*pictures).groups()
    assert complete
    return [rows.tolist() for rows in groups]


@pytest.mark.parametrize(
    ("width", "height", "scale", "quality"),
    [(32, 32, 1.5, 95), (120, 90, 1, 40), (250, 350, 0.7, 70)],
)
def test_a_resized_or_re_encoded_copy_is_found(width, height, scale, quality):
    pictures = [photo(number, width, height) for number in range(6)]
    assert grouped(*pictures, copied(pictures[5], scale, quality)) == [[5, 6]]


def test_the_same_pixels_are_an_exact_copy_whatever_the_file():
    picture, other = photo(0), photo(0)
    other.putpixel((3, 3), (1, 2, 3))
    found = prints(saved(picture), saved(picture, "BMP"), other, None, photo(1), None)
    assert [rows.tolist() for rows in found.groups()[0]] == [[0, 1, 2]]
    assert found.digests[0] == found.digests[1] != found.digests[2]
    assert grouped() == grouped(None, None) == []


def test_different_pictures_are_not_grouped():
    dark = photo(0, low=0, high=120)
    red, green, blue = photo(0).split()
    bright = photo(1).convert("L")
    colours = [photo(number).convert("YCbCr").split()[1:] for number in (2, 3)]
    assert (
        grouped(
            *(photo(number, 64, 64) for number in range(100, 120)),
            *(dark, Image.fromarray(np.asarray(dark) + np.uint8(120))),
            *(Image.merge("RGB", (red, green, blue)), Image.merge("RGB", (blue, red, green))),
            ImageOps.mirror(photo(0)),
            *(Image.merge("YCbCr", (bright, *two)).convert("RGB") for two in colours),
        )
        == []
    )


def test_flat_and_tiny_pictures_only_equal_their_exact_copies():
    def grey(seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).integers(-3, 4, (64, 64, 3))
        return Image.fromarray((120 + noise).astype(np.uint8))

    tiny = photo(0, 15, 40)
    nearly = Image.fromarray(np.asarray(tiny) // 2 * 2)
    found = prints(grey(1), grey(2), grey(1), tiny, nearly, tiny)
    assert [rows.tolist() for rows in found.groups()[0]] == [[0, 2], [3, 5]]
    assert found.compared() == 0


@pytest.mark.parametrize("at_once", [1, 37])
def test_groups_are_joined_whatever_is_compared_at_once(monkeypatch, at_once):
    monkeypatch.setattr(fingerprints, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(fingerprints, "CANDIDATES_AT_ONCE", at_once)
    pictures = [photo(number % 6) for number in range(9)]
    pictures += [copied(photo(number), 0.7, 70) for number in (2, 5, 7)]
    assert grouped(*pictures) == [[0, 6], [1, 7], [2, 8, 9], [5, 10]]
    levels = np.asarray(photo(0)).astype(np.float32)
    faded = [Image.fromarray((levels * share).astype(np.uint8)) for share in (1, 0.97, 0.94)]
    assert grouped(faded[0], faded[2]) == []
    assert grouped(faded[0], photo(1), faded[2], faded[1]) == [[0, 2, 3]]


def random_prints(images: int, hashes: int) -> Fingerprints:
    """Different pictures that have only so many different hashes."""
    draw, found = np.random.default_rng(0), Fingerprints(images)
    found.digests = [row.to_bytes(16) for row in range(images)]
    found.hashes = draw.integers(0, 2**64, hashes, dtype=np.uint64)[np.arange(images) % hashes]
    found.thumbnails = draw.integers(0, 256, found.thumbnails.shape, dtype=np.uint8)
    found.contrasts[:] = 70
    return found


def test_memory_does_not_grow_with_the_pairs(monkeypatch):
    monkeypatch.setattr(fingerprints, "PAIRS_AT_ONCE", 50_000)
    monkeypatch.setattr(fingerprints, "CANDIDATES_AT_ONCE", 200)
    found = random_prints(2_000, 200)
    tracemalloc.start()
    groups, _ = found.groups()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert groups == [] and peak < 2_000**2
