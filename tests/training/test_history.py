import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.features.calibration import Calibration
from transfer.training.history import SKIPPED_SHOWN, TrainingHistory


def test_a_report_lists_some_of_what_was_left_out_and_says_how_much_there_is():
    problems = tuple(DataIssue(f"{row}.png", "damaged") for row in range(SKIPPED_SHOWN + 100))
    images = ImageDataset(
        source="here", revision="1", classes=("ant", "bee"), splits={}, problems=problems
    )
    history = TrainingHistory(
        logits=np.eye(2),
        phases=[{"name": "features"}],
        calibrations={"features": Calibration(temperature=1.0, least_score=0.5, images=9)},
    )
    report = history.report(images, np.array([0, 1]), ("a", "b"))
    assert report["skipped"] == [problem.to_json() for problem in problems[:SKIPPED_SHOWN]]
    assert report["skipped_total"] == len(problems)
