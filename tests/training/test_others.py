"""Trainings with photos of other things."""

from dataclasses import replace

import numpy as np

from tests.tiny import TINY, drained, draw_classes
from transfer.events import CacheFilled, DatasetReady
from transfer.inference.loading import load
from transfer.publishing.bundle import write_bundle
from transfer.runs.familiarity import read_familiarity
from transfer.training.recipe import training_events
from transfer.training.review import review
from transfer.ui.runs.report import report

TINY = TINY | {"precision": "fp32", "head": "avg", "unfreeze": "block5"}


def test_they_change_what_is_known_and_nothing_else(stripes, tmp_path):
    folder = draw_classes(tmp_path / "other", each=5, classes=("one", "two"))
    options = TINY | {"others": str(folder)}
    seen, found = drained(training_events(str(stripes), out=tmp_path / "with", **options))
    _, without = drained(training_events(str(stripes), out=tmp_path / "without", **TINY))
    kinds = DatasetReady, CacheFilled
    ready, filled = (next(event for event in seen if isinstance(event, kind)) for kind in kinds)
    assert ready.images["others"] == filled.images["others"] == 10
    assert found.report["confusion"] == without.report["confusion"]
    assert found.report["unknown"]["others"]["images"] == 10
    assert 0 <= found.report["unknown"]["others"]["found"] <= 1
    assert "of the 10 photos of other things" in report(found, "with")
    assert "others" not in without.report["unknown"] and "other things" not in report(
        without, "without"
    )
    published = write_bundle(found, "head", tmp_path / "head")
    assert published.run.settings.others is None
    carried, pixels = load(published.folder).familiarity, np.random.default_rng(0).random((9, 512))
    assert len(carried.others) == 10
    np.testing.assert_allclose(carried.of(pixels), read_familiarity(found.path).of(pixels))
    older = replace(carried, others=None)
    assert not np.allclose(older.of(pixels), carried.of(pixels))
    _, reviewed = drained(review(str(stripes), found.settings))
    assert reviewed.images == filled.images["train"] + filled.images["validation"]
