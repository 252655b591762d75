import json

import numpy as np
import pytest
from PIL import Image

import transfer
from tests.tiny import CLASSES, picture
from transfer.errors import ImageError, SettingsError
from transfer.runs.run import RECORD


@pytest.fixture(scope="module")
def classifier(run):
    return transfer.load(run.path)


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


def test_a_prepared_picture_gets_the_same_answer(classifier):
    pixels = classifier.prepare(picture(0, 50))
    assert tuple(pixels.shape) == (1, 3, 32, 32)
    assert classifier.predict(pixels, 2) == classifier.classify(picture(0, 50), 2)


@pytest.mark.parametrize("top", [0, -1])
def test_fewer_than_one_class_is_refused(classifier, top):
    with pytest.raises(SettingsError, match=f"found {top}"):
        classifier.classify(picture(0, 0), top=top)


def test_a_file_that_is_no_picture_is_refused(classifier, tmp_path):
    for bad in (b"no picture", tmp_path / "nothing.png"):
        with pytest.raises(ImageError):
            classifier.classify(bad)


def test_the_run_s_own_transform_is_used(copied_run, classifier):
    record = json.loads((copied_run / RECORD).read_text())
    record["transform"]["mean"] = [0.0, 0.0, 0.0]
    (copied_run / RECORD).write_text(json.dumps(record))
    darker = transfer.load(copied_run)
    assert not np.allclose(darker.scores(picture(0, 50)), classifier.scores(picture(0, 50)))
