import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from transfer.data.transform import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SMALLEST_CROP,
    TimmTransform,
    Transform,
    augmented,
)
from transfer.errors import ImageError, RunError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(100, 40), (40, 100), (64, 64), (3, 5)])
def test_pixels_of_any_picture_are_a_square_of_bytes(size):
    pixels = Transform(image_size=64).pixels(noise(*size))
    assert (pixels.shape, pixels.dtype) == ((3, 64, 64), np.uint8)
    assert pixels.flags.writeable and pixels.max() > 0


def test_the_whole_picture_is_kept():
    image = Image.new("RGB", (400, 40), RED)
    image.paste(BLUE, (380, 0, 400, 40))
    pixels = Transform(image_size=40).pixels(image)
    assert pixels[:, 20, 0].tolist() == list(RED)
    assert pixels[:, 20, 39].tolist() == list(BLUE)


def test_a_file_is_read_upright_and_a_bad_one_told(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = Transform(image_size=32).pixels(tmp_path / "turned.png")
    assert pixels[:, 0, 16].tolist() == list(RED) and pixels[:, 31, 16].tolist() == list(BLUE)
    with pytest.raises(ImageError):
        Transform(image_size=32).pixels(b"no picture")


def test_normalise_is_what_torchvision_does():
    from torchvision.transforms import functional

    pixels = torch.arange(256, dtype=torch.uint8).repeat(2 * 3 * 12)[: 2 * 3 * 32 * 32]
    pixels = pixels.view(2, 3, 32, 32)
    found = Transform(image_size=32).normalise(pixels)
    expected = functional.normalize(pixels / 255, IMAGENET_MEAN, IMAGENET_STD)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_normalise_takes_the_mean_and_the_deviation_of_each_channel():
    transform = Transform(image_size=1, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    found = transform.normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))
    torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(150, 97), (30, 41)], ids=["smaller", "larger"])
def test_it_agrees_with_timm_own_squash(size, interpolation):
    from timm.data import create_transform

    theirs = create_transform(
        input_size=(3, 64, 64),
        is_training=False,
        interpolation=interpolation,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_pct=1.0,
        crop_mode="squash",
    )
    ours = Transform(image_size=64, interpolation=interpolation)
    pixels = torch.from_numpy(ours.pixels(noise(*size)))[None]
    torch.testing.assert_close(
        ours.normalise(pixels)[0], theirs(noise(*size)), atol=1e-5, rtol=0, check_stride=False
    )


def as_timm(**change) -> TimmTransform:
    known = {"image_size": 64, "height": 64, "width": 64, "crop_pct": 0.875, "crop_mode": "center"}
    return TimmTransform(**known | change)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop_pct", [0.875, 1.0, 1.4])
@pytest.mark.parametrize("sides", [(64, 64), (48, 96)], ids=str)
@pytest.mark.parametrize("size", [(150, 97), (30, 41), (64, 64)], ids=str)
def test_a_picture_for_a_network_of_timm_is_what_timm_makes_of_it(size, sides, crop_pct, crop_mode):
    from timm.data import create_transform

    named = {"crop_pct": crop_pct, "crop_mode": crop_mode, "interpolation": "bicubic"}
    theirs = create_transform(input_size=(3, *sides), mean=IMAGENET_MEAN, std=IMAGENET_STD, **named)
    ours = as_timm(image_size=min(sides), height=sides[0], width=sides[1], **named)
    pixels = torch.from_numpy(ours.pixels(noise(*size)))[None]
    torch.testing.assert_close(
        ours.normalise(pixels)[0], theirs(noise(*size)), atol=1e-5, rtol=0, check_stride=False
    )


def test_a_large_jpeg_is_decoded_in_full_for_timm(tmp_path):
    noise(1000, 800).save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as image:
        wanted = as_timm().resized(image.convert("RGB"))
    assert (as_timm().pixels(tmp_path / "large.jpg") == wanted).all()


@pytest.mark.parametrize("size", [(400_000, 10), (10, 400_000)], ids=str)
@pytest.mark.parametrize("crop_mode", ["center", "border"])
def test_a_strip_that_would_become_huge_or_nothing_is_refused(size, crop_mode):
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]}"):
        as_timm(crop_mode=crop_mode).pixels(Image.new("RGB", size))
    assert as_timm(crop_mode="squash").pixels(Image.new("RGB", size)).shape == (3, 64, 64)


def test_json_both_ways():
    transform = Transform(
        image_size=112, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), interpolation="bicubic"
    )
    assert Transform.from_json(json.loads(json.dumps(transform.to_json()))) == transform


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": "large"},
        {"image_size": 0},
        {"mean": [0.5]},
        {"mean": None},
        {"std": [0.2, 0.2, 0.0]},
        {"interpolation": "guess"},
        {"interpolation": None},
        {"image_size": float("inf")},
        {"mean": [0.5, 0.5, float("nan")]},
        {"std": [0.2, 0.2, float("inf")]},
    ],
    ids=str,
)
def test_a_record_that_is_no_transform_is_refused(change):
    with pytest.raises(RunError, match="train again"):
        Transform.from_json(Transform(image_size=32).to_json() | change)


def test_a_record_that_lacks_something_names_it():
    data = Transform(image_size=32).to_json()
    del data["mean"]
    with pytest.raises(RunError, match="mean"):
        Transform.from_json(data)


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (8, 8), (1, 1), (1, 50)])
def test_an_augmented_picture_is_a_large_part_of_the_picture(size):
    image = Image.new("RGB", size)
    for seed in range(200):
        part = augmented(image, random.Random(seed))
        width, height = part.size
        assert 1 <= width <= size[0] and 1 <= height <= size[1]
        # rounding may take half a pixel from each side
        assert (width + 0.5) * (height + 0.5) >= SMALLEST_CROP * size[0] * size[1]
        stretch = (width / size[0]) / (height / size[1])
        if min(size) >= 100:
            assert 0.78 <= stretch <= 1.28


def test_augmented_is_decided_by_the_seed():
    image = noise(60, 40)
    first, again, other = (augmented(image, random.Random(seed)) for seed in (1, 1, 2))
    assert first.size == again.size and first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_augmented_mirrors_about_half_and_never_turns():
    image = Image.new("RGB", (100, 100), RED)
    image.paste(BLUE, (0, 50, 50, 100))
    parts = [augmented(image, random.Random(seed)) for seed in range(200)]
    bottoms = [
        (part.getpixel((0, part.height - 1)), part.getpixel((part.width - 1, part.height - 1)))
        for part in parts
    ]
    mirrored = sum(corners == (RED, BLUE) for corners in bottoms)
    assert 70 <= mirrored <= 130
    assert mirrored + sum(corners == (BLUE, RED) for corners in bottoms) == 200
    assert all(part.getpixel((x, 0)) == RED for part in parts for x in (0, part.width - 1))


def test_augmented_moves_about():
    image = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(256, 0)).convert("RGB")
    lefts = [
        min(np.array(augmented(image, random.Random(seed)))[0, [0, -1], 0]) for seed in range(99)
    ]
    assert min(lefts) < 5 and max(lefts) > 25
