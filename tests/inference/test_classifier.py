import json

import numpy as np
import pytest
from PIL import Image

import transfer
from tests.tiny import CLASSES, picture
from transfer.errors import ImageError, SettingsError
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


def test_a_picture_may_be_a_file_its_bytes_an_array_or_an_image(classifier, tmp_path):
    image = picture(0, 50)
    file = tmp_path / "photo.png"
    image.save(file)
    wanted = classifier.classify(image)
    for other in (file, str(file), file.read_bytes(), np.asarray(image), Image.open(file)):
        assert classifier.classify(other) == wanted


def test_no_picture_and_fewer_than_one_class_are_refused(classifier, tmp_path):
    for bad in (b"no picture", tmp_path / "nothing.png"):
        with pytest.raises(ImageError):
            classifier.classify(bad)
    with pytest.raises(SettingsError, match="found 0"):
        classifier.classify(picture(0, 0), top=0)


def test_the_run_s_own_transform_is_used(copied_run, classifier):
    record = json.loads((copied_run / RECORD).read_text())
    record["transform"]["mean"] = [0.0, 0.0, 0.0]
    (copied_run / RECORD).write_text(json.dumps(record))
    darker = transfer.load(copied_run)
    assert not np.allclose(darker.scores(picture(0, 50)), classifier.scores(picture(0, 50)))
