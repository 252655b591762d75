import dataclasses

import pytest

from transfer.data.dataset import DatasetSummary
from transfer.settings import HeadSettings, TrainingSettings
from transfer.training.defaults import EFFORTS, fill_defaults, head_shapes, trial_images


def filled(fast_device: bool = False, dataset=(), **options):
    known = {"train_images": 1_000, "side": 200, "drawings": False} | dict(dataset)
    asked = TrainingSettings.from_options(**options)
    return fill_defaults(asked, DatasetSummary(**known), fast_device=fast_device)


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


def test_the_image_size_depends_on_pictures_device_and_effort():
    size = filled().image_size
    assert size == 224
    assert filled(dataset={"side": 32}).image_size < size
    assert filled(dataset={"drawings": True}).image_size < size
    assert filled(effort="quick").image_size < size
    large = {"train_images": 100_000}
    assert filled(dataset=large).image_size < filled(fast_device=True, dataset=large).image_size


def updates(images: int, **options) -> dict[str, float]:
    """What a training of so many images is: optimizer steps of each phase, views to compute."""
    settings = filled(dataset={"train_images": images}, **options)
    phases = {"warm-up": settings.warm_up, "fine-tune": settings.fine_tune}
    found = {name: p.epochs * images / p.batch_size for name, p in phases.items()}
    return found | {"views": images * settings.views, "pixels": settings.image_size}


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("images", [200, 1_999, 2_000, 4_000, 20_000, 100_000])
def test_one_image_more_makes_no_other_training(effort, images):
    ours, theirs = updates(images, effort=effort), updates(images + 1, effort=effort)
    assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("effort", ["balanced", "thorough"])
def test_ten_times_the_images_get_more_updates_but_less_than_ten_times(effort):
    for images in (200, 2_000, 20_000):
        few, many = updates(images, effort=effort), updates(10 * images, effort=effort)
        assert all(1 <= many[name] / few[name] <= 10 for name in ("warm-up", "fine-tune", "views"))


def test_photos_are_mirrored_at_least_however_many_they_are():
    assert filled(dataset={"train_images": 1_000_000}).views == 2
    assert filled(dataset={"train_images": 1_000_000, "drawings": True}).views == 1


def test_letters_and_digits_are_never_mirrored_and_get_their_own_head():
    letters, photos = (
        filled(effort="thorough", dataset={"drawings": drawn}) for drawn in (True, False)
    )
    assert letters.views == 1
    assert (letters.head.pooling, photos.head.pooling) == ("flatten", "avg")


@pytest.mark.parametrize(("classes", "width"), [(2, 256), (128, 256), (129, 512), (1_000, 2_048)])
def test_hidden_layers_are_no_narrower_than_the_classes_need(classes, width):
    assert filled(dataset={"classes": classes}).head.hidden == (width,)
    assert min(w for head in head_shapes(classes) for w in head.hidden) == width
    assert trial_images(4, classes) >= 10 * classes


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [("adam", 1), ("rmsprop", 0.1), ("sgd", 50), ("sgdw", 50), ("LAMB", 20)],
)
def test_rates_suit_the_optimizer(optimizer, factor):
    default, asked = filled(), filled(optimizer=optimizer)
    for phase in ("warm_up", "fine_tune"):
        rates = (getattr(settings, phase).learning_rate for settings in (default, asked))
        assert next(rates) * factor == pytest.approx(next(rates))


@pytest.mark.parametrize("uneven", [False, True])
def test_classes_are_weighted_where_they_are_uneven_unless_it_is_set(uneven):
    dataset = {"uneven": uneven}
    assert filled(dataset=dataset).class_weights == uneven
    assert filled(class_weights=not uneven, dataset=dataset).class_weights != uneven
