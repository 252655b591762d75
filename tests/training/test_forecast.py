from dataclasses import replace

import pytest

from tests.speeds import speed
from transfer.data.dataset import DatasetSummary
from transfer.errors import CacheError
from transfer.settings import TrainingSettings
from transfer.training.forecast import (
    BACKWARD_FACTOR,
    MILLION_PARAMETERS,
    OTHER_SECONDS,
    SIDE,
    Speed,
    forecast,
)

SPEED = speed(forward=0.01, step=0.0, head_step=0.001)
PHOTOS = DatasetSummary(train_images=800, side=200, drawings=False)
IMAGES = {"train": 800, "validation": 100, "test": 100}


def seconds(speed: Speed = SPEED, **options) -> dict[str, float]:
    settings = TrainingSettings.from_options(**{"image_size": SIDE} | options)
    return forecast(speed, settings, PHOTOS, IMAGES)


def test_every_view_of_every_image_passes_the_body_once():
    assert seconds(views=1)["images"] == pytest.approx(1_000 * 0.05)
    assert seconds(views=4)["images"] == pytest.approx((3_200 + 200) * 0.05)
    assert seconds(views=1, image_size=2 * SIDE)["images"] == pytest.approx(4_000 * 0.05)
    features = {"images": pytest.approx(1_000 * 0.05), "the rest": OTHER_SECONDS}
    assert seconds(method="features") == features


def test_fine_tune_takes_as_long_as_the_unfrozen_blocks_and_their_optimizer_steps():
    one = seconds(unfreeze="block5", finetune_epochs=10)["fine-tune"]
    two = seconds(unfreeze="block4", finetune_epochs=10)["fine-tune"]
    assert two - one == pytest.approx(10 * 0.01 * (BACKWARD_FACTOR * 800 + 100))
    slow = seconds(replace(SPEED, step=1.0), unfreeze="block5", finetune_epochs=10)["fine-tune"]
    assert slow - one == pytest.approx(10 * 800 / 32 * MILLION_PARAMETERS["block5"])


def test_the_forecast_is_of_what_fits(monkeypatch):
    """208 MB in 2 views, 121 MB in one, 85 MB with pixels; 14 MB with pixels at 48 px."""
    options = {"unfreeze": "block4", "finetune_epochs": 10}
    frozen = 10 * 0.03 * 900  # three frozen blocks, in each epoch over training and validation
    everything = seconds(views=2, **options)
    monkeypatch.setenv("TRANSFER_CACHE_GB", "0.13")
    assert seconds(**options)["images"] == pytest.approx(1_000 * 0.05), "one view"
    pixels = seconds(views=2, **options)
    assert pixels["fine-tune"] - everything["fine-tune"] == pytest.approx(frozen)
    monkeypatch.setenv("TRANSFER_CACHE_GB", "0.02")
    with pytest.raises(CacheError, match=r"expected room for .* found 20 MB"):
        seconds(views=2, **options)
    assert seconds(image_size=None, **options)["images"] < everything["images"] / 4


def test_only_the_steps_of_a_training_are_listed_and_more_effort_takes_longer():
    assert list(seconds(effort="quick")) == ["images", "warm-up", "the rest"]
    assert "heads" not in seconds(head="avg-256")
    assert "fine-tune" not in seconds(unfreeze="none")
    efforts = [sum(seconds(effort=name).values()) for name in ("quick", "balanced", "thorough")]
    assert efforts == sorted(efforts)
