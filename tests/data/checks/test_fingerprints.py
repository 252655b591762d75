import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.checks.pictures import copied, photo, saved
from transfer.data.checks import fingerprints
from transfer.data.checks.fingerprints import Fingerprints, fingerprint
from transfer.data.image import load_image


def prints(*pictures) -> Fingerprints:
    """Of pictures or their bytes; None stands for one that could not be read."""
    found = Fingerprints(len(pictures))
    for row, picture in enumerate(pictures):
        if picture is not None:
            found.keep(row, fingerprint(load_image(picture)))
    return found


def grouped(*pictures) -> list[list[int]]:
    groups, complete = prints(*pictures).groups()
    assert complete
    return [rows.tolist() for rows in groups]


def noisy_grey(level: int, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-3, 4, (64, 64, 3))
    return saved(Image.fromarray((level + noise).astype(np.uint8)), "JPEG", quality=60)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (120, 90), (500, 700)])
@pytest.mark.parametrize(
    ("scale", "quality"), [(0.5, 95), (1.5, 95), (1, 40), (0.7, 70), (1.4, 50)]
)
def test_a_copy_resized_or_saved_anew_is_found_among_others(width, height, scale, quality):
    others = [photo(number, width, height) for number in range(1, 6)]
    original = photo(0, width, height)
    assert grouped(*others, original, copied(original, scale, quality)) == [[5, 6]]


def test_different_pictures_are_told_apart():
    assert grouped(*(photo(number, 64, 64) for number in range(60))) == []


def test_the_same_pixels_are_found_whatever_the_file():
    picture = photo(0)
    files = [saved(picture), saved(picture, "BMP"), saved(picture, "TIFF"), saved(photo(1))]
    found = prints(*files)
    assert [rows.tolist() for rows in found.groups()[0]] == [[0, 1, 2]]
    assert found.digests[0] == found.digests[1] == found.digests[2] != found.digests[3]


def test_one_pixel_less_alike_is_no_exact_copy():
    picture, other = photo(0), photo(0)
    other.putpixel((3, 3), (1, 2, 3))
    found = prints(picture, other, picture.crop((0, 0, 119, 90)))
    assert len(set(found.digests)) == 3


def test_the_same_bytes_in_another_shape_are_another_picture():
    pixels = np.asarray(photo(0, 64, 32))
    found = prints(Image.fromarray(pixels), Image.fromarray(pixels.reshape(64, 32, 3)))
    assert found.digests[0] != found.digests[1]


def test_the_same_shapes_in_other_colours_are_another_picture():
    picture = photo(0)
    red, green, blue = picture.split()
    assert grouped(picture, Image.merge("RGB", (blue, red, green))) == []


def test_colours_count_where_the_brightness_is_the_same():
    bright = photo(0).convert("L")
    colours = [photo(number).convert("YCbCr").split()[1:] for number in (0, 1)]
    tinted = [Image.merge("YCbCr", (bright, *two)).convert("RGB") for two in colours]
    assert grouped(*tinted) == []


def test_brighter_by_far_is_another_picture():
    picture = photo(0, low=0, high=120)
    brighter = Image.fromarray(np.asarray(picture) + np.uint8(120))
    assert grouped(picture, brighter) == []


def test_a_mirrored_copy_counts_as_another_picture():
    assert grouped(photo(0), ImageOps.mirror(photo(0))) == []


def test_flat_pictures_are_alike_only_where_all_pixels_are_the_same():
    white = Image.new("RGB", (50, 50), "white")
    found = prints(
        white, noisy_grey(250, 1), noisy_grey(250, 2), noisy_grey(120, 1), white.copy(), white
    )
    assert [rows.tolist() for rows in found.groups()[0]] == [[0, 4, 5]]
    assert found.compared() == 0


def test_tiny_pictures_are_alike_only_where_all_pixels_are_the_same():
    small, smallest = photo(0, 16, 16), photo(0, 15, 40)
    nearly = [Image.fromarray(np.asarray(p) // 2 * 2) for p in (small, smallest)]
    assert grouped(smallest, small, nearly[1], nearly[0], smallest) == [[0, 4], [1, 3]]


def test_what_is_like_two_others_joins_them():
    levels = np.asarray(photo(0)).astype(np.float32)
    faded = [Image.fromarray((levels * share).astype(np.uint8)) for share in (1, 0.97, 0.94)]
    assert grouped(faded[0], faded[2]) == []
    assert grouped(faded[0], photo(1), faded[2]) == []
    assert grouped(faded[0], photo(1), faded[2], faded[1]) == [[0, 2, 3]]


def test_what_could_not_be_read_is_like_nothing():
    assert grouped(None, photo(0), None, photo(0), None) == [[1, 3]]
    assert grouped() == []
    assert grouped(None, None) == []


@pytest.mark.parametrize(("pairs", "candidates"), [(1, 1), (20, 2), (37, 4096)])
def test_groups_are_the_same_however_few_pairs_are_looked_at_at_once(
    monkeypatch, pairs, candidates
):
    pictures = [photo(number % 6) for number in range(9)]
    pictures += [copied(photo(number), 0.7, 70) for number in (2, 5, 7)]
    wanted = grouped(*pictures)
    assert wanted == [[0, 6], [1, 7], [2, 8, 9], [5, 10]]
    monkeypatch.setattr(fingerprints, "PAIRS_AT_ONCE", pairs)
    monkeypatch.setattr(fingerprints, "CANDIDATES_AT_ONCE", candidates)
    assert grouped(*pictures) == wanted


def random_prints(images: int, hashes: int) -> Fingerprints:
    """Pictures with nothing in common but, where there are few hashes, the look at first sight."""
    draw, found = np.random.default_rng(0), Fingerprints(images)
    found.digests = [row.to_bytes(16) for row in range(images)]
    found.hashes = draw.integers(0, 2**64, hashes, dtype=np.uint64)[np.arange(images) % hashes]
    found.thumbnails = draw.integers(0, 256, found.thumbnails.shape, dtype=np.uint8)
    found.contrasts[:] = 70
    return found


@pytest.mark.parametrize("hashes", [2_000, 2])
def test_memory_does_not_grow_with_the_pairs(monkeypatch, hashes):
    monkeypatch.setattr(fingerprints, "PAIRS_AT_ONCE", 50_000)
    monkeypatch.setattr(fingerprints, "CANDIDATES_AT_ONCE", 200)
    found = random_prints(2_000, hashes)
    tracemalloc.start()
    groups, _ = found.groups()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert groups == []
    assert peak < 2_000**2


def test_where_very_many_look_alike_at_first_sight_it_gives_up_and_says_so(monkeypatch):
    monkeypatch.setattr(fingerprints, "MOST_CANDIDATES", 2000)
    assert random_prints(60, 1).groups() == ([], True)
    assert random_prints(80, 1).groups() == ([], False)
    assert random_prints(80, 80).groups() == ([], True)


def test_many_images_of_one_picture_are_no_reason_to_give_up(monkeypatch):
    monkeypatch.setattr(fingerprints, "MOST_CANDIDATES", 300)
    monkeypatch.setattr(fingerprints, "CANDIDATES_AT_ONCE", 100)
    found = random_prints(200, 1)
    found.thumbnails[:] = found.thumbnails[0]
    groups, complete = found.groups()
    assert complete and [len(rows) for rows in groups] == [200]


def test_a_fingerprint_needs_no_file():
    image = Image.open(io.BytesIO(saved(photo(0)))).convert("RGB")
    found = fingerprint(image)
    assert len(found.digest) == 16
    assert 0 <= found.hash < 2**64
    assert (found.thumbnail.dtype, found.thumbnail.shape) == (np.uint8, (12, 12, 3))
