import json
from importlib.metadata import version

import numpy as np
import pytest

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.events import EpochDone, PhaseDone
from transfer.training.history import (
    TrainingHistory,
    image_counts,
    library_versions,
    peak_rss_bytes,
)

LABELS = np.array([0, 1, 1, 0])
WARM, FINE = np.eye(2)[[0, 1, 0, 1]], np.eye(2)[[0, 1, 1, 1]]
IMAGES = ImageDataset(
    source="here",
    revision="1",
    classes=("ant", "bee"),
    splits={},
    problems=(DataIssue(where="x.png", why="the file is empty"),),
)


def done(phase: str, accuracy: float) -> PhaseDone:
    return PhaseDone(
        phase=phase, epochs=3, best_epoch=2, accuracy=accuracy, seconds=1.5, ended="epoch limit"
    )


def epoch(number: int) -> EpochDone:
    return EpochDone(
        phase="warm-up",
        epoch=number,
        epochs=3,
        loss=0.5,
        validation_loss=0.6,
        validation_accuracy=0.7,
        best=True,
        seconds=1.0,
        seconds_left=2.0,
        drift={"head": 0.1},
    )


@pytest.fixture
def record() -> TrainingHistory:
    record = TrainingHistory()
    record.add_cache(2.5)
    record.add_phase(done("warm-up", 0.75), [epoch(0), epoch(1)], WARM, LABELS)
    record.add_phase(done("fine-tune", 0.8), [], FINE, LABELS)
    return record


def test_each_phase_is_judged_on_the_same_test_images(record):
    assert list(record.stages) == ["warm-up", "fine-tune"]
    warm, fine = record.stages.values()
    assert (warm["accuracy"], fine["accuracy"]) == (0.5, 0.75)
    assert (warm["validation_accuracy"], fine["validation_accuracy"]) == (0.75, 0.8)
    assert warm["images"] == fine["images"] == 4


def test_phases_keep_their_curves_and_why_they_ended(record):
    names = [phase["name"] for phase in record.phases]
    assert names == ["cache", "warm-up", "fine-tune"]
    warm = record.phases[1]
    assert [point["epoch"] for point in warm["curve"]] == [0, 1]
    assert warm["ended"] == "epoch limit" and warm["test_accuracy"] == 0.5
    assert json.loads(json.dumps(record.phases)) == record.phases


def test_the_report_is_of_the_last_phase_and_tells_what_was_skipped(record):
    report = record.report(IMAGES, LABELS, ("a", "b", "c", "d"))
    assert report["accuracy"] == 0.75
    assert report["stages"] is record.stages
    assert report["skipped"] == [{"where": "x.png", "why": "the file is empty"}]
    assert report["mistakes"][0]["name"] == "d"


def test_the_result_speaks_of_validation_in_phases_and_of_test_at_the_end(record):
    report = record.report(IMAGES, LABELS, ("a", "b", "c", "d"))
    result = record.result(report, run="runs/x", weights="random")
    assert result["run"] == "runs/x" and result["weights"] == "random"
    assert result["accuracy"] == 0.75
    assert result["accuracy_interval"] == report["interval"]
    assert [phase["accuracy"] for phase in result["phases"][1:]] == [0.75, 0.8]
    assert all("curve" not in phase for phase in result["phases"])
    assert 0 < result["seconds"] < 60


def test_images_are_counted_by_split():
    counts = {"test": 3, "train": 1, "validation": 2}
    assert image_counts(counts, 4) == {"train": 1, "validation": 2, "test": 3, "skipped": 4}


def test_versions_name_what_a_result_depends_on():
    versions = library_versions()
    assert versions["timm"] == version("timm") and versions["torch"] == version("torch")
    assert versions["python"].count(".") == 2


def test_memory_is_told_in_bytes():
    assert 20e6 < peak_rss_bytes() < 1e12
