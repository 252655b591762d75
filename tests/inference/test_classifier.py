import json

import numpy as np
import pytest

import transfer
from tests.tiny import CLASSES, picture
from transfer.errors import SettingsError
from transfer.runs.run import RECORD


def test_the_best_classes_come_first_each_beside_its_own_score(classifier):
    scores = classifier.scores(picture(1, 50))
    assert scores.dtype == np.float32 and scores.sum() == pytest.approx(1, abs=1e-5)
    found = classifier.classify(picture(1, 50))
    assert [p.score for p in found] == sorted(scores.tolist(), reverse=True)
    assert {p.label: p.score for p in found} == dict(zip(CLASSES, scores.tolist(), strict=True))
    assert classifier.classify(picture(1, 50), top=2) == found[:2]
    assert classifier.classify(picture(1, 50), top=99) == found
    assert not np.allclose(scores, classifier.scores(picture(0, 50)))
    with pytest.raises(SettingsError, match="found 0"):
        classifier.classify(picture(0, 0), top=0)


def test_the_run_s_own_transform_is_used(copied_run, classifier):
    record = json.loads((copied_run / RECORD).read_text())
    record["transform"]["mean"] = [0.0, 0.0, 0.0]
    (copied_run / RECORD).write_text(json.dumps(record))
    darker = transfer.load(copied_run)
    assert not np.allclose(darker.scores(picture(0, 50)), classifier.scores(picture(0, 50)))
