import gradio as gr
import pytest

from transfer.errors import SettingsError
from transfer.settings import HeadSettings, PhaseSettings, TrainingSettings
from transfer.ui.train.form import advanced_fields, effort_field, read_form


@pytest.fixture(scope="module")
def initial():
    """The form's values as the page opens."""
    with gr.Blocks():
        fields = {"effort": effort_field()} | advanced_fields()
        return {name: field.value for name, field in fields.items()}


def test_every_field_reaches_the_settings_and_the_initial_form_sets_none(initial):
    assert read_form(initial) == TrainingSettings()
    texts = {"image_size": "64", "views": " 3 ", "head": "avg-32", "optimizer": "sgd", "seed": "7"}
    texts |= {"head_epochs": "5", "head_lr": "0.01", "finetune_epochs": "4.0"}
    texts |= {"finetune_lr": "1e-5", "target_accuracy": "0.9", "limit_per_class": "50"}
    choices = {"effort": "thorough", "unfreeze": "block3"}
    choices |= {"weights": "random", "class_weights": "yes", "precision": "fp32"}
    assert (texts | choices).keys() == initial.keys()
    assert read_form(texts | choices) == TrainingSettings(
        **choices | {"class_weights": True},
        image_size=64,
        views=3,
        head=HeadSettings(pooling="avg", hidden=(32,)),
        try_heads=False,
        warm_up=PhaseSettings(epochs=5, learning_rate=0.01, optimizer="sgd"),
        fine_tune=PhaseSettings(epochs=4, learning_rate=1e-5, optimizer="sgd"),
        target_accuracy=0.9,
        limit_per_class=50,
        seed=7,
    )


def test_feature_extraction_ignores_what_it_does_not_use(initial):
    form = initial | {"effort": "features", "unfreeze": "block3", "head": "avg", "views": "9"}
    assert read_form(form) == TrainingSettings(method="features", unfreeze="none")


@pytest.mark.parametrize("name", ["class_weights", "image_size", "seed", "views"])
def test_an_invalid_value_is_one_sentence(initial, name):
    with pytest.raises(SettingsError, match="must be"):
        read_form(initial | {name: "7" * 99})
