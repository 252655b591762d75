from dataclasses import replace

import pytest

from transfer.data.dataset import DatasetSummary
from transfer.settings import BLOCKS, TrainingSettings
from transfer.training import forecast as forecasting
from transfer.training import head_search as search
from transfer.training.benchmark import LEARNING, SIDE, Speed
from transfer.training.forecast import MILLION_PARAMETERS, REST_SECONDS, forecast

SPEED = Speed(forward=dict.fromkeys(BLOCKS, 0.01), step=0.0, head_step=0.001, fast_device=False)
LOOK = DatasetSummary(train_images=800, side=200, grey=False)
IMAGES = {"train": 800, "validation": 100, "test": 100}


def foretold(speed: Speed = SPEED, **options) -> dict[str, float]:
    settings = TrainingSettings.from_options(**{"image_size": SIDE} | options)
    return forecast(speed, settings, LOOK, IMAGES, "hub")


def test_every_view_of_every_image_passes_the_body_once():
    assert foretold(views=1)["images"] == pytest.approx(1_000 * 0.05)
    assert foretold(views=4)["images"] == pytest.approx((3_200 + 200) * 0.05)
    assert foretold(views=1, image_size=2 * SIDE)["images"] == pytest.approx(4_000 * 0.05)


def test_feature_extraction_reads_each_image_once_and_has_no_phases():
    assert foretold(method="features") == {
        "images": pytest.approx(1_000 * 0.05),
        "the rest": REST_SECONDS,
    }


def test_fine_tune_takes_as_long_as_the_blocks_that_learn():
    times = {"finetune_epochs": 10}
    one = foretold(unfreeze="block5", **times)["fine-tune"]
    two = foretold(unfreeze="block4", **times)["fine-tune"]
    an_epoch = 0.01 * (LEARNING * 800 + 100)
    assert two - one == pytest.approx(10 * an_epoch)
    assert foretold(unfreeze="block5", finetune_epochs=20)["fine-tune"] == pytest.approx(2 * one)


def test_a_step_of_the_optimizer_counts_once_a_batch():
    slow = replace(SPEED, step=1.0)
    more = foretold(slow, finetune_epochs=1)["fine-tune"] - foretold(finetune_epochs=1)["fine-tune"]
    assert more == pytest.approx(800 / 32 * MILLION_PARAMETERS["block5"])


def test_quick_has_warm_up_alone():
    assert list(foretold(effort="quick")) == ["images", "warm-up", "the rest"]
    assert "heads" not in foretold(head="avg-256")
    assert "fine-tune" not in foretold(unfreeze="none")


def test_more_effort_takes_longer():
    quick, balanced, thorough = (
        sum(foretold(effort=name).values()) for name in ("quick", "balanced", "thorough")
    )
    assert quick < balanced < thorough


def test_heads_are_tried_as_search_does():
    for name in ("SHARE_OF_THE_EPOCHS", "FEWEST_EPOCHS", "IMAGES_A_BATCH", "MOST_TRAINING_VIEWS"):
        assert getattr(forecasting, name) == getattr(search, name)


def test_a_million_parameters_are_vgg16_s():
    from transfer.model.vgg import build_network
    from transfer.model.weights import find_body
    from transfer.settings import HeadSettings

    body = find_body("random", "vgg16", 0).tensors
    head = HeadSettings(pooling="avg", hidden=(), dropout=0.0)
    parts = dict(build_network("vgg16", body, head, 32, classes=2, seed=0).parts())
    for block, millions in MILLION_PARAMETERS.items():
        counted = sum(p.numel() for p in parts[block].parameters()) / 1e6
        assert millions == pytest.approx(counted, abs=0.01)
