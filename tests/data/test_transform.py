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


def check_like_timm(transform: Transform, size: tuple[int, int], sides, **options) -> None:
    """Against timm's own evaluation transform."""
    from timm.data import create_transform

    pixels = torch.from_numpy(transform.pixels(noise(*size)))[None]
    known = {"input_size": (3, *sides), "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    wanted = create_transform(**known, **options)(noise(*size))
    torch.testing.assert_close(
        transform.normalise(pixels)[0], wanted, atol=1e-5, rtol=0, check_stride=False
    )


def test_the_complete_upright_picture_becomes_a_square_of_bytes(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    image = Image.new("RGB", (640, 32), RED)
    image.paste(BLUE, (600, 0, 640, 32))
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = Transform(image_size=32).pixels(tmp_path / "turned.png")
    assert (pixels.shape, pixels.dtype) == ((3, 32, 32), np.uint8)
    assert pixels.flags.writeable
    assert pixels[:, 0, 16].tolist() == list(RED) and pixels[:, 31, 16].tolist() == list(BLUE)


def test_it_agrees_with_timm_s_squash():
    options = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash"}
    transform = Transform(image_size=64)
    check_like_timm(transform, (150, 97), sides=(64, 64), **options)
    found = transform.normalise(torch.zeros((1, 3, 64, 64), dtype=torch.uint8))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def as_timm(**change) -> TimmTransform:
    known = {"image_size": 64, "height": 64, "width": 64, "crop_pct": 0.875, "crop_mode": "center"}
    return TimmTransform(**known | change)


@pytest.mark.parametrize(
    ("size", "sides", "crop_pct", "crop_mode"),
    [
        ((150, 97), (64, 64), 0.875, "center"),
        ((30, 41), (48, 96), 1.4, "center"),
        ((30, 41), (64, 64), 1.0, "border"),
    ],
)
def test_the_transform_for_other_networks_is_timm_s(size, sides, crop_pct, crop_mode):
    options = {"crop_pct": crop_pct, "crop_mode": crop_mode, "interpolation": "bicubic"}
    ours = as_timm(image_size=min(sides), height=sides[0], width=sides[1], **options)
    check_like_timm(ours, size, sides=sides, **options)


@pytest.mark.parametrize("crop_mode", ["center", "border"])
def test_a_strip_that_would_become_huge_or_nothing_is_refused(crop_mode):
    strip = Image.new("RGB", (400_000, 10))
    with pytest.raises(ImageError, match="400000 x 10"):
        as_timm(crop_mode=crop_mode).pixels(strip)
    assert as_timm(crop_mode="squash").pixels(strip).shape == (3, 64, 64)


def test_a_transform_becomes_json_and_back_and_other_records_are_refused():
    transform = Transform(
        image_size=112, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), interpolation="bicubic"
    )
    assert Transform.from_json(json.loads(json.dumps(transform.to_json()))) == transform

    infinite, nan = float("inf"), float("nan")
    for change in (
        *({"image_size": value} for value in (0, infinite)),
        *({"mean": value} for value in ([0.5], None, [0.5, 0.5, nan])),
        *({"std": [0.2, 0.2, 0.0]}, {"interpolation": "guess"}),
    ):
        with pytest.raises(RunError, match="train again"):
            Transform.from_json(transform.to_json() | change)


@pytest.mark.parametrize("size", [(200, 100), (1, 50)])
def test_augmented_is_a_large_part_decided_by_the_seed(size):
    image = noise(*size)
    for seed in range(100):
        part = augmented(image, random.Random(seed))
        width, height = part.size
        assert 1 <= width <= size[0] and 1 <= height <= size[1]
        # rounding may take half a pixel from each side
        assert (width + 0.5) * (height + 0.5) >= SMALLEST_CROP * size[0] * size[1]
        if min(size) >= 100:
            assert 0.78 <= (width / size[0]) / (height / size[1]) <= 1.28
        assert part.tobytes() == augmented(image, random.Random(seed)).tobytes()


def test_augmented_moves_mirrors_half_and_never_rotates():
    columns = np.arange(256, dtype=np.uint8)[None].repeat(256, 0)
    image = Image.fromarray(np.stack([columns, columns.T, columns], axis=2))  # red: x, green: y
    parts = [np.array(augmented(image, random.Random(seed))) for seed in range(200)]
    mirrored = sum(int(part[0, 0, 0]) > int(part[0, -1, 0]) for part in parts)
    assert 70 <= mirrored <= 130
    assert all(int(part[0, 0, 1]) < int(part[-1, 0, 1]) for part in parts)
    lefts = [part[0, [0, -1], 0].min() for part in parts]
    assert min(lefts) < 5 and max(lefts) > 25
