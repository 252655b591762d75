import json

import numpy as np
import pytest

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.events import EpochDone, PhaseDone
from transfer.training.history import TrainingHistory

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
def history() -> TrainingHistory:
    history = TrainingHistory()
    history.add_cache(2.5)
    history.add_phase(done("warm-up", 0.75), [epoch(0), epoch(1)], WARM, LABELS)
    history.add_phase(done("fine-tune", 0.8), [], FINE, LABELS)
    return history


def test_phases_have_test_scores_curves_and_why_they_ended(history):
    assert list(history.stages) == ["warm-up", "fine-tune"]
    warm, fine = history.stages.values()
    assert (warm["accuracy"], fine["accuracy"]) == (0.5, 0.75)
    assert (warm["validation_accuracy"], fine["validation_accuracy"]) == (0.75, 0.8)
    assert warm["images"] == fine["images"] == 4
    assert [phase["name"] for phase in history.phases] == ["cache", "warm-up", "fine-tune"]
    warm = history.phases[1]
    assert [point["epoch"] for point in warm["curve"]] == [0, 1]
    assert warm["ended"] == "epoch limit" and warm["test_accuracy"] == 0.5
    assert json.loads(json.dumps(history.phases)) == history.phases


def test_report_and_result_are_of_the_last_phase(history):
    report = history.report(IMAGES, LABELS, ("a", "b", "c", "d"))
    assert report["accuracy"] == 0.75 and report["stages"] is history.stages
    assert report["skipped"] == [{"where": "x.png", "why": "the file is empty"}]
    assert report["mistakes"][0]["name"] == "d"
    result = history.result(report, run="runs/x", weights="random")
    assert (result["run"], result["weights"], result["accuracy"]) == ("runs/x", "random", 0.75)
    assert result["accuracy_interval"] == report["interval"]
    assert [phase["accuracy"] for phase in result["phases"][1:]] == [0.75, 0.8], "on validation"
    assert all("curve" not in phase for phase in result["phases"])
    assert 0 < result["seconds"] < 60
    assert 20e6 < result["peak_rss_bytes"] < 1e12
