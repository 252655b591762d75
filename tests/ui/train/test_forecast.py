import re

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER
from transfer.settings import BLOCKS, TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.training.forecast import Speed
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.train import forecast
from transfer.ui.train.forecast import Forecaster

SPEED = Speed(forward=dict.fromkeys(BLOCKS, 0.01), step=0.001, head_step=0.001, fast_device=False)
FORM = {"method": "finetune", "effort": "balanced", "unfreeze": "block5", "weights": "bundled"}


@pytest.fixture
def forecaster(empty, monkeypatch):
    monkeypatch.setattr(forecast, "known_speed", lambda: SPEED)
    return Forecaster(empty, DataHandlers(UploadHandlers(empty), shared=False))


def changed(forecaster, source="digits", **change):
    """(efforts, estimate, diagram)."""
    return forecaster.form_changed(ME, source, **FORM | change)


def seconds(estimate: str) -> float:
    number, unit = re.search(r"Estimated: ([\d.]+) (s|min|h)", estimate).groups()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_each_effort_has_its_time_and_the_chosen_one_its_steps(forecaster):
    efforts, estimate, diagram = changed(forecaster)
    assert [name for _, name in efforts.choices] == list(EFFORTS)
    for title, _ in efforts.choices:
        assert re.fullmatch(r"[A-Z]\w+, about [\d.]+ (s|min|h)", title)
    assert "warm-up" in estimate and "fine-tune" in estimate and "small bundled body" in estimate
    assert 'class="vgg"' in diagram


def test_settings_change_the_estimate(forecaster):
    usual = seconds(changed(forecaster)[1])
    assert seconds(changed(forecaster, finetune_epochs="100")[1]) > 2 * usual
    assert seconds(changed(forecaster, unfreeze="none")[1]) < usual
    assert seconds(changed(forecaster, limit_per_class="20")[1]) < usual


def test_a_hub_dataset_that_was_not_shown_has_no_time(forecaster, hub):
    efforts, estimate, _ = changed(forecaster, "user/name")
    assert "Show images" in estimate and "Estimated" not in estimate
    assert [title for title, _ in efforts.choices] == ["Quick", "Balanced", "Thorough"]
    assert hub.requests == []


def test_an_invalid_setting_is_a_sentence(forecaster):
    _, estimate, diagram = changed(forecaster, image_size="7")
    assert "image size must be" in estimate and 'class="vgg"' in diagram


def test_feature_extraction_has_one_effort(forecaster):
    efforts, estimate, diagram = changed(forecaster, method="features")
    assert efforts.interactive is False and "Feature extraction" in diagram
    assert "linear classifier" in estimate and "fine-tune" not in estimate


def test_the_diagram_of_a_training_stays(forecaster):
    job = forecaster.jobs.start("digits", TrainingSettings(), owner=ME)
    assert changed(forecaster)[2] == gr.skip()
    forecaster.jobs.stop(job.id, ME)
    assert forecaster.dataset_changed(ME, "digits", **FORM)[2] == gr.skip()
    assert forecaster.dataset_changed(OTHER, "digits", **FORM)[2] != gr.skip()


def test_the_page_waits_until_the_machine_was_measured(forecaster, monkeypatch):
    *_, estimate, _, timer = forecaster.when_measured(ME, "digits", **FORM)
    assert "Estimated" in estimate and not timer.active
    monkeypatch.setattr(forecast, "known_speed", lambda: None)
    assert "has been measured" in changed(forecaster)[1]
    assert forecaster.when_measured(ME, "digits", **FORM) == gr.skip()


def test_the_hub_is_asked_once_for_the_body(forecaster, monkeypatch, hub):
    assert forecast.expected_body() == "bundled"  # this Hub has none
    asked = []
    monkeypatch.setattr(forecast, "expected_body", lambda: asked.append(1) or "hub")
    for _ in range(3):
        assert "with the ImageNet body" in changed(forecaster, weights="auto")[1]
    assert len(asked) == 1
