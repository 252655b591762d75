import pytest

from transfer.errors import TransferError
from transfer.settings import TrainingSettings
from transfer.ui.train.form import ADVANCED, filled

FIELDS = dict.fromkeys(ADVANCED) | {"weights": "auto", "head": "auto", "class_weights": "auto"}


def options(method: str = "finetune", effort: str = "balanced", unfreeze: str = "block5", **change):
    return filled(method, effort, unfreeze, tuple((FIELDS | change)[name] for name in ADVANCED))


def test_empty_fields_leave_everything_to_the_data():
    assert TrainingSettings.from_options(**options()) == TrainingSettings(unfreeze="block5")


def test_every_field_reaches_the_settings():
    given = options(
        weights="random",
        image_size="64",
        head="avg-32",
        views=" 3 ",
        head_epochs="5",
        head_lr="0.01",
        finetune_epochs="4.0",
        finetune_lr="1e-5",
        optimizer="sgd",
        target_accuracy="0.9",
        class_weights="yes",
        limit_per_class="50",
        precision="fp32",
        seed="7",
    )
    settings, plain = TrainingSettings.from_options(**given), TrainingSettings()
    for name in ("weights", "image_size", "head", "views", "warm_up", "fine_tune", "class_weights"):
        assert getattr(settings, name) != getattr(plain, name)
    assert (settings.warm_up.epochs, settings.warm_up.learning_rate) == (5, 0.01)
    assert (settings.fine_tune.epochs, settings.fine_tune.learning_rate) == (4, 1e-5)
    assert settings.warm_up.optimizer == settings.fine_tune.optimizer == "sgd"
    assert (settings.target_accuracy, settings.limit_per_class) == (0.9, 50)
    assert (settings.precision, settings.seed, settings.try_heads) == ("fp32", 7, False)


@pytest.mark.parametrize(("said", "meant"), [("auto", None), ("yes", True), ("no", False)])
def test_class_weights_may_be_left_to_the_data(said, meant):
    assert TrainingSettings.from_options(**options(class_weights=said)).class_weights is meant


def test_feature_extraction_is_told_nothing_that_it_has_no_use_for():
    given = options(
        "features", "thorough", "block3", head="avg", views=9, head_epochs=3, image_size=64
    )
    assert given == {
        "weights": "auto",
        "image_size": 64,
        "method": "features",
        "effort": "thorough",
        "unfreeze": "none",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"class_weights": "maybe"},
        {"precision": "fp8"},
        {"image_size": "64.5"},
        {"head_lr": "nan"},
        {"finetune_epochs": "inf"},
        {"seed": "7" * 99},
        {"views": "many"},
        {"effort": "heroic"},
        {"unfreeze": "block9"},
        {"method": "magic"},
    ],
)
def test_what_does_not_fit_is_a_sentence(change):
    with pytest.raises(TransferError, match="must be"):
        TrainingSettings.from_options(**options(**change))
