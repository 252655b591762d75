"""Trainings on corrected labels."""

import json
from dataclasses import replace

import pytest
import torch

from tests.tiny import TINY, drained, draw_classes
from tests.training.test_resume import cut_after, write_every_epoch
from transfer.data.corrections import LEFT_OUT
from transfer.data.source import load_splits
from transfer.errors import RunError
from transfer.events import CacheFilled, Resumed
from transfer.inference.evaluate import evaluate
from transfer.inference.loading import load
from transfer.runs.run import read_run
from transfer.settings import Correction, TrainingSettings
from transfer.training.recipe import training_events
from transfer.training.resume import find_checkpoint

SETTINGS = TrainingSettings.from_options(**TINY | {"precision": "fp32", "head": "avg-8"})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_classes(tmp_path_factory.mktemp("corrected") / "source", each=10)


@pytest.fixture(scope="module")
def corrections(source):
    """One of each kind, of training images."""
    names = load_splits(str(source), SETTINGS).splits["train"].names
    across, down = (
        next(name for name in names if name.startswith(label)) for label in ("across", "down")
    )
    return Correction(where=across, label="spots"), Correction(where=down, leave_out=True)


def trained(source, out, settings, **options):
    return drained(training_events(str(source), out=out, settings=settings, **options))


def test_a_corrected_training_reads_the_same_cache_and_tests_the_same_images(
    source, corrections, tmp_path
):
    _, before = trained(source, tmp_path / "before", SETTINGS)
    corrected = replace(SETTINGS, corrections=corrections)
    seen, after = trained(source, tmp_path / "after", corrected)
    (filled,) = (event for event in seen if isinstance(event, CacheFilled))
    assert filled.computed == 0
    assert after.record["tested_on"] == before.record["tested_on"]
    images, earlier = after.record["result"]["images"], before.record["result"]["images"]
    assert images == earlier | {"train": earlier["train"] - 1, "skipped": 1}
    assert {"where": corrections[1].where, "why": LEFT_OUT} in after.report["skipped"]
    assert read_run(after.path).settings.corrections == corrections
    assert json.loads((after.path / "run.json").read_text())["settings"]["corrections"]
    report = evaluate(load(after.path), str(source))
    assert (report["held_out"], report["accuracy"]) == (True, after.accuracy)
    first, second = (load(run.path).network.state_dict() for run in (before, after))
    assert any(not torch.equal(first[name], second[name]) for name in first), "labels count"


def test_a_training_resumes_with_its_own_corrections_only(
    source, corrections, tmp_path, monkeypatch
):
    write_every_epoch(monkeypatch)
    corrected = replace(SETTINGS, corrections=corrections)
    cut_after(source, tmp_path / "run", "warm-up", 1, settings=corrected)
    with pytest.raises(RunError, match="found another corrections"):
        find_checkpoint(tmp_path / "run", SETTINGS)
    seen, run = trained(source, tmp_path / "run", corrected, resume=True)
    assert any(isinstance(event, Resumed) for event in seen)
    assert run.record["result"]["images"]["skipped"] == 1
