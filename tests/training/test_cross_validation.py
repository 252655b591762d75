from types import SimpleNamespace

import pytest
import torch

from tests.tiny import TINY, drained, held
from transfer import events
from transfer.runs.run import read_run
from transfer.settings import TrainingSettings
from transfer.training import cross_validation
from transfer.training.cross_validation import cross_validate
from transfer.training.recipe import training_events

QUICK = TINY | {"method": "features", "precision": "fp32"}


def state(train: list[int], validation: list[int], folds: int | None) -> SimpleNamespace:
    """Features that tell the classes apart, but for the first image of class 0, which is of 1."""

    def features(labels):
        values = torch.tensor(labels, dtype=torch.float32)
        values[0] = 1
        noise = torch.rand(1, len(labels), 4, 2, 2, generator=torch.manual_seed(0))
        return held(noise + values[None, :, None, None, None], labels)

    return SimpleNamespace(
        settings=TrainingSettings(folds=folds),
        features={"train": features(train), "validation": features(validation)},
        class_weights=None,
        history=SimpleNamespace(strength=1.0),
    )


def test_every_image_is_judged_by_a_fit_on_the_others():
    """Also where a class has fewer images than folds; a single one is never judged."""
    (event,), report = drained(
        cross_validate(state([0] * 20 + [1] * 20 + [2], [0] * 6 + [1] * 3, 8))
    )
    assert (event.folds, event.images) == (8, 49)
    assert event.accuracy == pytest.approx(47 / 49), "the first of each split is labelled wrong"
    assert event.interval[0] < event.accuracy < event.interval[1]
    assert report == {"cross_validation": vars(event)}


def test_it_is_for_few_validation_images_unless_asked_for(monkeypatch):
    known = [0, 1] * 10, [0, 1] * 5
    assert drained(cross_validate(state(*known, None)))[0][0].folds == 5
    monkeypatch.setattr(cross_validation, "FEW_VALIDATION_IMAGES", 10)
    assert drained(cross_validate(state(*known, None))) == ([], {})
    assert drained(cross_validate(state(*known, 2)))[0][0].folds == 2


def test_a_training_reports_and_saves_it(stripes, tmp_path):
    seen, run = drained(training_events(str(stripes), out=tmp_path / "run", folds=3, **QUICK))
    (event,) = (event for event in seen if isinstance(event, events.CrossValidated))
    images = run.record["result"]["images"]
    assert event.images == images["train"] + images["validation"]
    assert read_run(run.path).report["cross_validation"] == vars(event)
