import re

import pytest

from tests.ui.visitors import ME, OTHER
from transfer.settings import BLOCKS, TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.training.forecast import Speed
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.train import forecast
from transfer.ui.train.forecast import Forecaster
from transfer.ui.train.form import ADVANCED

SPEED = Speed(forward=dict.fromkeys(BLOCKS, 0.01), step=0.001, head_step=0.001, fast_device=False)
FIELDS = dict.fromkeys(ADVANCED) | {"weights": "bundled", "head": "auto", "class_weights": "auto"}


@pytest.fixture
def foretelling(jobs, monkeypatch):
    monkeypatch.setattr(forecast, "known_speed", lambda: SPEED)
    return Forecaster(jobs, DataHandlers(UploadHandlers(jobs), shared=False))


def planned(
    foretelling, source="digits", method="finetune", effort="balanced", unfreeze="block5", **change
):
    advanced = tuple((FIELDS | change)[name] for name in ADVANCED)
    return foretelling.plan(ME, source, method, effort, unfreeze, *advanced)


def seconds(page: str) -> float:
    number, unit = re.search(r"About ([\d.]+) (s|min|h)", page).groups()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_each_effort_has_its_time_and_the_chosen_one_its_steps(foretelling):
    efforts, told, picture = planned(foretelling)
    titles = [title for title, _ in efforts.choices]
    assert [name for _, name in efforts.choices] == list(EFFORTS)
    assert all(re.fullmatch(r"[A-Z]\w+, about [\d.]+ (s|min|h)", title) for title in titles)
    assert "warm-up" in told and "fine-tune" in told and "small bundled body" in told
    assert 'class="vgg"' in picture


def test_settings_change_what_is_foretold(foretelling):
    usual = seconds(planned(foretelling)[1])
    assert seconds(planned(foretelling, finetune_epochs=100)[1]) > 2 * usual
    assert seconds(planned(foretelling, unfreeze="none")[1]) < usual
    assert seconds(planned(foretelling, limit_per_class=20)[1]) < usual


def test_a_source_that_was_not_opened_has_no_time(foretelling, hub):
    efforts, told, _ = planned(foretelling, "user/name")
    assert "Show images" in told and "About" not in told
    assert [title for title, _ in efforts.choices] == ["Quick", "Balanced", "Thorough"]
    assert hub.requests == []


def test_a_machine_that_was_not_measured_has_no_time(foretelling, monkeypatch):
    monkeypatch.setattr(forecast, "known_speed", lambda: None)
    assert "has been measured" in planned(foretelling)[1]


def test_what_does_not_fit_is_a_sentence_and_the_picture_stays(foretelling):
    _, told, picture = planned(foretelling, image_size=7)
    assert "image size must be" in told and 'class="vgg"' in picture
    assert "found nothing" in planned(foretelling, source="")[1]


def test_feature_extraction_has_one_effort(foretelling):
    efforts, told, picture = planned(foretelling, method="features")
    assert efforts.interactive is False
    assert "one effort" in told and "fine-tune" not in told
    assert "Feature extraction" in picture


def test_a_training_that_shows_in_the_picture_is_left_there(foretelling):
    foretelling.jobs.start("digits", TrainingSettings(), owner=ME)
    assert planned(foretelling)[2] == {"__type__": "update"}


def test_what_a_training_left_in_the_picture_stays_until_a_setting_changes(foretelling):
    foretelling.jobs.stop(foretelling.jobs.start("digits", TrainingSettings(), owner=ME).id, ME)
    advanced = tuple(FIELDS[name] for name in ADVANCED)
    opened = foretelling.opened(ME, "digits", "finetune", "balanced", "block5", *advanced)
    assert opened[2] == {"__type__": "update"}
    assert (
        foretelling.opened(OTHER, "digits", "features", "quick", "none", *advanced)[2] != opened[2]
    )


def test_asking_ends_once_the_machine_was_measured(foretelling, monkeypatch):
    settings = (ME, "digits", "finetune", "balanced", "block5", *(FIELDS[n] for n in ADVANCED))
    assert "About" in foretelling.once_measured(*settings)[1]
    assert not foretelling.once_measured(*settings)[3].active
    monkeypatch.setattr(forecast, "known_speed", lambda: None)
    assert foretelling.once_measured(*settings) == ({"__type__": "update"},) * 4


def test_an_effort_brings_its_block(foretelling):
    assert [foretelling.unfreeze_of(name) for name in EFFORTS] == ["none", "block5", "block4"]
    assert foretelling.unfreeze_of("heroic") == "block5"


def test_the_hub_is_asked_once_for_its_body_and_not_waited_for(foretelling, monkeypatch):
    asked = []
    monkeypatch.setattr(forecast, "body_to_come", lambda: asked.append(1) or "bundled")
    for _ in range(3):
        assert "small bundled body" in planned(foretelling, weights="auto")[1]
    assert len(asked) == 1


def test_without_the_hub_the_bundled_body_is_foretold(hub):
    assert forecast.body_to_come() == "bundled"
