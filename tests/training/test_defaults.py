import dataclasses

import pytest

from transfer.data.dataset import DatasetSummary
from transfer.settings import HeadSettings, TrainingSettings
from transfer.training.defaults import fill_defaults


def filled(weights: str = "hub", fast_device: bool = False, dataset=(), **options):
    known = {"train_images": 1_000, "side": 200, "drawings": False} | dict(dataset)
    asked = TrainingSettings.from_options(**options)
    return fill_defaults(asked, DatasetSummary(**known), weights, fast_device=fast_device)


def test_everything_left_open_is_chosen():
    settings = filled()
    assert settings == filled(effort="balanced")
    assert settings.image_size and settings.views
    assert None not in dataclasses.asdict(settings.head).values()
    for phase in (settings.warm_up, settings.fine_tune):
        left_open = {name for name, value in dataclasses.asdict(phase).items() if value is None}
        assert left_open == {"patience"}
    assert settings.fine_tune.learning_rate < settings.warm_up.learning_rate


def test_given_settings_win():
    given = {"head_epochs": 3, "finetune_epochs": 0, "views": 5, "unfreeze": "block2"}
    head = HeadSettings(pooling="avg", hidden=(7,), dropout=0)
    settings = filled(effort="thorough", image_size=96, head=head, head_lr=0.3, **given)
    assert (settings.warm_up.epochs, settings.fine_tune.epochs) == (3, 0)
    assert (settings.views, settings.unfreeze, settings.image_size) == (5, "block2", 96)
    assert settings.head == head and settings.warm_up.learning_rate == 0.3


def test_the_image_size_depends_on_pictures_body_and_device():
    size = filled().image_size
    assert filled(dataset={"side": 32}).image_size < size
    assert filled(dataset={"drawings": True}).image_size < size
    assert filled("bundled").image_size < size
    large = {"train_images": 100_000}
    assert filled(dataset=large).image_size < filled(fast_device=True, dataset=large).image_size


def test_letters_and_digits_are_never_mirrored_and_get_their_own_head():
    letters, photos = (
        filled(effort="thorough", dataset={"drawings": drawn}) for drawn in (True, False)
    )
    assert letters.views == 1
    assert (letters.head.pooling, photos.head.pooling) == ("flatten", "avg")
    assert letters.head.dropout < photos.head.dropout


@pytest.mark.parametrize("uneven", [False, True])
def test_classes_are_weighted_where_they_are_uneven_unless_it_is_set(uneven):
    dataset = {"uneven": uneven}
    assert filled(dataset=dataset).class_weights == uneven
    assert filled(class_weights=not uneven, dataset=dataset).class_weights != uneven
