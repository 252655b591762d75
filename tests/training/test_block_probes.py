from dataclasses import replace

import pytest

from tests.tiny import TINY, drained
from transfer.events import BlocksProbed, EpochDone
from transfer.settings import TrainingSettings
from transfer.training.recipe import training_events

SETTINGS = TrainingSettings.from_options(**TINY | {"precision": "fp32", "head": "avg"})


def probed(source, out, unfreeze: str) -> tuple[BlocksProbed, list[float]]:
    """(the event, the loss after each epoch)."""
    seen, run = drained(
        training_events(str(source), out=out, settings=replace(SETTINGS, unfreeze=unfreeze))
    )
    found = [event for event in seen if isinstance(event, BlocksProbed)]
    assert run.report.get("block_probes") == (vars(found[0]) if found else None)
    losses = [event.validation_loss for event in seen if isinstance(event, EpochDone)]
    return (found or [None])[0], losses


def test_outputs_are_the_same_whether_they_are_cached_or_computed(stripes, tmp_path):
    upper, _ = probed(stripes, tmp_path / "5", "block5")
    lower, _ = probed(stripes, tmp_path / "3", "block3")
    every, _ = probed(stripes, tmp_path / "1", "block1")
    assert [*upper.accuracy] == ["block4", "block5"] and upper.images == 24
    assert [*lower.accuracy] == ["block2", "block3", "block4", "block5"]
    assert [*every.accuracy] == ["block1", *lower.accuracy]
    assert lower.accuracy == pytest.approx(lower.accuracy | upper.accuracy)
    assert every.accuracy == pytest.approx(every.accuracy | lower.accuracy)
    assert min(every.accuracy.values()) > 0.5, "stripes are told apart by any layer"
    assert set(upper.no_gain) <= {"block5"} and set(every.no_gain) <= {*lower.accuracy}


def test_probing_changes_no_curve(stripes, tmp_path, monkeypatch):
    _, with_probes = probed(stripes, tmp_path / "with", "block5")
    monkeypatch.setattr("transfer.training.recipe.probe_blocks", lambda training: iter(()))
    found, without = probed(stripes, tmp_path / "without", "block5")
    assert found is None and with_probes == without
