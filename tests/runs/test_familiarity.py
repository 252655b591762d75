from dataclasses import replace

import numpy as np
import pytest

import transfer
from tests.tiny import picture
from transfer.errors import RunError
from transfer.inference.loading import load
from transfer.runs.familiarity import (
    FALSE_ALARMS,
    Familiarity,
    is_known,
    read_familiarity,
    unknown_share,
)
from transfer.runs.run import FAMILIARITY, TENSORS

WIDTH = 64
random = np.random.default_rng(0)
CENTERS, OTHERS = random.random((3, WIDTH)) ** 4, random.random((50, WIDTH)) ** 4


def outputs(images: int, centers=CENTERS) -> np.ndarray:
    """As a body gives them: not negative, around the class's center, of any brightness."""
    rows = centers[np.arange(images) % len(centers)] * random.gamma(9, 1 / 9, (images, WIDTH))
    return (rows * random.uniform(0.5, 2, (images, 1))).astype(np.float32)


@pytest.mark.parametrize("held_out", [100, 1_500])
def test_pictures_of_other_things_are_unknown_and_few_others_are(held_out):
    familiarity = Familiarity.learn(outputs(300), outputs(held_out))
    same, other = familiarity.of(outputs(4_000)), familiarity.of(outputs(500, OTHERS))
    assert 1 - is_known(same).mean() == pytest.approx(FALSE_ALARMS, abs=0.03)
    assert np.quantile(same, [0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.1)
    assert is_known(other).mean() < 0.02 and other.min() >= 0 and same.max() <= 1
    assert len(np.unique(other)) > 400, "how unlike they are can be told apart"


def test_photos_of_other_things_show_what_else_is_unknown():
    near = 0.97 * CENTERS + 0.03 * OTHERS[:3]  # like the classes, but not the same
    known = outputs(300), outputs(300)
    without, found = Familiarity.learn(*known), Familiarity.learn(*known, others=outputs(50, near))
    strangers, same = outputs(500, near), outputs(1_000)
    assert unknown_share(found.of(strangers)) > unknown_share(without.of(strangers)) + 0.2
    assert unknown_share(found.of(same)) == pytest.approx(FALSE_ALARMS, abs=0.03)
    assert found.of(strangers).min() >= 0


def test_one_photo_for_validation_is_enough_to_begin_with():
    familiarity = Familiarity.learn(outputs(3), outputs(1))
    assert is_known(familiarity.of(outputs(50))).mean() > 0.9


def test_a_run_and_its_answers_carry_it(run, copied_run):
    classifier = load(copied_run)
    answer = classifier.answer(classifier.prepare(picture(0, 0)), top=2)
    assert 0 < answer.familiarity <= 1 and answer.known is True
    assert {(p.known, p.familiarity) for p in answer.predictions} == {(True, answer.familiarity)}
    assert run.report["unknown"]["found"] <= 0.5
    (copied_run / FAMILIARITY).unlink()
    older = load(copied_run)
    assert older.answer(older.prepare(picture(0, 0)), top=2) == replace(
        answer,
        familiarity=None,
        known=None,
        predictions=[replace(p, known=None, familiarity=None) for p in answer.predictions],
    )


@pytest.mark.parametrize("other", ["a file of something else", "one of another body"])
def test_a_file_that_does_not_fit_is_one_line(copied_run, other):
    narrow = Familiarity.learn(outputs(9), outputs(9)).pack()
    tensors = (copied_run / TENSORS).read_bytes()
    (copied_run / FAMILIARITY).write_bytes(narrow if "body" in other else tensors)
    with pytest.raises(RunError, match=r"expected references and levels"):
        read_familiarity(copied_run)
    with pytest.raises(RunError):
        transfer.load(copied_run)
