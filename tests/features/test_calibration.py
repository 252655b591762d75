import numpy as np
import pytest
import torch

from transfer.features.calibration import COVERAGE, Calibration
from transfer.features.validation import Judged, Validation
from transfer.runs.metrics import reliability, set_report


def drawn(images: int, seed: int, sureness: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `sureness` times too sure, and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return sureness * logits, labels


def learned(images: int, seed: int = 0) -> Calibration:
    return Calibration.of(Validation.joined([Judged.of(*drawn(images, seed))]))


def sets_of(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> dict:
    inside = calibration.tempered(logits) >= calibration.least_score
    return set_report(inside[np.arange(len(labels)), labels], inside.sum(1))


def test_scores_are_calibrated_and_sets_hold_the_truth_as_often_as_promised():
    calibration = learned(4_000)
    logits, labels = (part.numpy() for part in drawn(4_000, seed=1))
    scores, before = calibration.tempered(logits), torch.from_numpy(logits).softmax(1).numpy()
    hits = scores.argmax(1) == labels
    assert reliability(before.max(1), hits)["error"] > 0.1
    assert reliability(scores.max(1), hits)["error"] < 0.03
    sets = sets_of(calibration, logits, labels)
    assert sets["covered"] == pytest.approx(COVERAGE, abs=0.02) and 1 < sets["size"] < 4


def test_sets_of_few_images_are_right_on_average():
    found = [learned(30, seed) for seed in range(200)]
    logits, labels = (part.numpy() for part in drawn(2_000, seed=1_000))
    covered = [sets_of(c, logits, labels)["covered"] for c in found]
    assert np.mean(covered) == pytest.approx(1 - 3 / 31, abs=0.02)
    assert learned(8).least_score == 0.0, "too few to leave any class out"
    assert learned(9).least_score > 0.0


def test_the_calibration_error_is_the_distance_of_bins_weighted_by_their_images():
    confidence = np.array([0.95, 0.95, 0.95, 0.55, 1.0])
    found = reliability(confidence, np.array([True, True, False, False, True]))
    assert [b["images"] for b in found["bins"]] == [1, 4]
    expected = (1 * 0.55 + 4 * abs(confidence[[0, 1, 2, 4]].mean() - 3 / 4)) / 5
    assert found["error"] == pytest.approx(expected)
