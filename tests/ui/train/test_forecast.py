import re

import gradio as gr
import pytest

from tests.speeds import speed
from tests.ui.conftest import trainings_of
from tests.ui.visitors import ME, OTHER
from transfer.settings import TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.ui.train import forecast
from transfer.ui.train.forecast import Forecaster
from transfer.ui.train.form import FILLED

SPEED = speed(forward=0.01, step=0.001, head_step=0.001)
FORM = {"effort": "balanced", "unfreeze": "block5", "weights": "bundled"}


@pytest.fixture
def forecaster(empty, monkeypatch):
    monkeypatch.setattr(forecast, "known_speed", lambda: SPEED)
    return Forecaster(empty, trainings_of(empty).datasets)


def changed(forecaster, source="digits", **change):
    """(efforts, estimate, diagram)."""
    return forecaster.form_changed(ME, source, **FORM | change)[1:4]


def test_each_effort_has_its_time_and_settings_change_it(forecaster):
    def seconds(**change) -> float:
        estimate = changed(forecaster, **change)[1]
        number, unit = re.search(r"Estimated: ([\d.]+) (s|min|h)", estimate).groups()
        return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]

    efforts, estimate, diagram = changed(forecaster)
    assert [name for _, name in efforts.choices] == [*EFFORTS, "features"]
    assert all(re.search(r", about [\d.]+ (s|min|h)$", title) for title, _ in efforts.choices)
    assert "warm-up" in estimate and "fine-tune" in estimate and 'class="vgg"' in diagram
    assert seconds(finetune_epochs="100") > 2 * seconds()
    assert seconds(unfreeze="none") < seconds() > seconds(limit_per_class="20")


def test_a_hub_dataset_that_was_not_shown_has_no_time(forecaster, hub):
    efforts, estimate, _ = changed(forecaster, "user/name")
    assert "Show images" in estimate and "Estimated" not in estimate and hub.requests == []
    assert [title for title, _ in efforts.choices] == [
        "Quick",
        "Balanced",
        "Thorough",
        "Features only",
    ]


def test_feature_extraction_is_an_effort_and_an_invalid_setting_has_no_estimate(forecaster):
    _, estimate, diagram = changed(forecaster, effort="features")
    assert "Feature extraction" in diagram
    assert "linear classifier" in estimate and "fine-tune" not in estimate
    assert "Image size must be" in changed(forecaster, image_size="7")[1]


def test_the_diagram_of_a_training_stays(forecaster):
    job = forecaster.jobs.start("digits", TrainingSettings(), owner=ME)
    assert changed(forecaster)[2] == gr.skip()
    forecaster.jobs.stop(job.id, ME)
    assert forecaster.dataset_changed(ME, "digits", **FORM)[3] == gr.skip()
    assert forecaster.dataset_changed(OTHER, "digits", **FORM)[3] != gr.skip()


def test_what_would_be_chosen_stands_in_the_empty_fields(forecaster):
    card, _, _, _, blocks, *texts = forecaster.form_changed(ME, "digits", **FORM)
    assert "1,797 images" in card and card.count("<img") == 3
    assert dict(zip(FILLED, texts, strict=True))["image_size"].placeholder == "64"
    assert blocks.choices[0] == ("auto: block5: the last block", "auto")
    card, *_ = forecaster.form_changed(ME, "digits", **FORM | {"limit_per_class": "5"})
    assert "1,797" not in card and "10 classes" in card


def test_the_page_waits_until_the_machine_was_measured(forecaster, monkeypatch):
    _, _, estimate, *_, timer = forecaster.when_measured(ME, "digits", **FORM)
    assert "Estimated" in estimate and not timer.active
    monkeypatch.setattr(forecast, "known_speed", lambda: None)
    assert "has been measured" in changed(forecaster)[1]
    assert forecaster.when_measured(ME, "digits", **FORM) == gr.skip()


def test_the_hub_is_asked_once_for_the_body(forecaster, monkeypatch, hub):
    assert not forecast.is_reachable(forecast.BODY)  # this Hub has none
    answers = iter([True])
    monkeypatch.setattr(forecast, "is_reachable", lambda body: next(answers))
    for _ in range(2):
        assert "with the body from the Hub" in changed(forecaster, weights="auto")[1]
