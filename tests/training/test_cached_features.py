from dataclasses import replace

import numpy as np

import transfer
from tests.tiny import TINY, drained
from transfer.events import CacheFilled
from transfer.features.out_of_fold import plain_features
from transfer.training.cached_features import asked_settings, cached_features

QUICK = TINY | {"precision": "fp32", "head": "avg-8", "head_epochs": 1}


def computed(source, settings) -> tuple[int, object]:
    """(views that were not cached, the TrainingState)."""
    seen, training = drained(cached_features(str(source), settings))
    (filled,) = (event for event in seen if isinstance(event, CacheFilled))
    return filled.computed, training


def test_they_come_from_the_cache_of_a_training_else_from_one_plain_view(stripes, tmp_path):
    run = transfer.train(str(stripes), out=tmp_path / "run", **QUICK)
    settings = asked_settings(str(run.path), {"weights": None, "limit_per_class": None})
    assert settings == run.settings and settings.views == 2
    number, training = computed(stripes, settings)
    assert (number, training.settings.views) == (0, 2)
    larger = asked_settings(str(run.path), {"image_size": 64})
    assert larger == replace(settings, image_size=64)
    number, plain = computed(stripes, larger)
    assert (number, plain.settings.views) == (36, 1)
    found = plain_features(training.features["train"])
    assert found.shape == (len(training.features["train"]), 512) and found.std() > 0
    assert np.isfinite(found).all() and (found >= 0).all()
