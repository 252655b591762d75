import json

import numpy as np
import pytest
import torch
from PIL import Image

import transfer
from tests.tiny import CLASSES, draw_classes, picture
from transfer.data.transform import Transform
from transfer.errors import ImageError, RunError, SettingsError, SourceError
from transfer.inference.classifier import Classifier
from transfer.runs.run import RECORD


@pytest.fixture(scope="module")
def classifier(run):
    return transfer.load(run.path)


def test_the_best_classes_come_first(classifier):
    found = classifier.classify(picture(1, 50))
    scores = [prediction.score for prediction in found]
    assert scores == sorted(scores, reverse=True)
    assert {prediction.label for prediction in found} == set(CLASSES)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert classifier.classify(picture(1, 50), top=2) == found[:2]
    assert classifier.classify(picture(1, 50), top=99) == found


def test_a_score_stands_beside_its_own_class(classifier):
    scores = classifier.scores(picture(2, 50))
    assert scores.dtype == np.float32 and scores.shape == (3,)
    found = {p.label: p.score for p in classifier.classify(picture(2, 50))}
    assert found == dict(zip(CLASSES, scores.tolist(), strict=True))


def test_other_pictures_get_other_scores(classifier):
    assert not np.allclose(classifier.scores(picture(0, 50)), classifier.scores(picture(1, 50)))


def test_a_picture_is_the_same_picture_however_it_comes(classifier, tmp_path):
    image = picture(0, 50)
    file = tmp_path / "photo.png"
    image.save(file)
    wanted = classifier.classify(image)
    for other in (file, str(file), file.read_bytes(), np.asarray(image), Image.open(file)):
        assert classifier.classify(other) == wanted


@pytest.mark.parametrize("top", [0, -1])
def test_fewer_than_one_class_is_refused(classifier, top):
    with pytest.raises(SettingsError, match=f"found {top}"):
        classifier.classify(picture(0, 0), top=top)


def test_what_is_no_picture_is_refused(classifier, tmp_path):
    with pytest.raises(ImageError):
        classifier.classify(b"no picture")
    with pytest.raises(ImageError):
        classifier.classify(tmp_path / "nothing.png")


def test_a_run_loads_from_its_folder_its_name_or_itself(classifier, run):
    wanted = classifier.classify(picture(0, 50))
    for name in (run, str(run.path)):
        assert transfer.load(name).classify(picture(0, 50)) == wanted


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        transfer.load(tmp_path)


def test_the_training_s_own_test_images_give_the_report_again(classifier, run, stripes):
    report = transfer.evaluate(classifier, str(stripes))
    assert report["split"] == "test" and report["source"] == str(stripes)
    assert report["skipped"] == []
    for key in ("accuracy", "interval", "images", "classes", "confusion"):
        assert report[key] == run.report[key], key
    assert [m["name"] for m in report["mistakes"]] == [m["name"] for m in run.report["mistakes"]]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_any_split_can_be_evaluated(classifier, run, stripes, split):
    report = transfer.evaluate(classifier, str(stripes), split)
    assert report["images"] == run.record["result"]["images"][split]
    assert report["split"] == split


def test_a_split_that_is_none_is_answered_with_those_that_are(classifier, stripes):
    with pytest.raises(SettingsError, match="train, validation, test, found 'all'"):
        transfer.evaluate(classifier, str(stripes), "all")


def test_classes_are_matched_by_name_not_by_place(classifier, tmp_path):
    """`across` and `spots` alone are labels 0 and 1 of this folder, but 0 and 2 of the run."""
    for kind in (0, 2):
        folder = tmp_path / "two" / CLASSES[kind]
        folder.mkdir(parents=True)
        for number in range(10):
            picture(kind, number).save(folder / f"{number}.png")
    report = transfer.evaluate(classifier, str(tmp_path / "two"), "train")
    across, down, spots = (c["support"] for c in report["classes"])
    assert across == spots > 0 == down
    assert len(report["confusion"]) == 3 and sum(report["confusion"][1]) == 0


def test_a_class_that_the_run_does_not_know_is_named(classifier, tmp_path):
    folder = draw_classes(tmp_path / "others", each=5, classes=("across", "waves"))
    with pytest.raises(RunError) as caught:
        transfer.evaluate(classifier, str(folder))
    text = str(caught.value)
    assert "across, down, spots" in text and "'waves'" in text and "\n" not in text


def test_an_image_that_cannot_be_read_is_skipped_and_told(classifier, run, tmp_path):
    folder = draw_classes(tmp_path / "split" / "test", each=3).parent
    draw_classes(folder / "train", each=4)
    (folder / "test" / "down" / "1.png").write_bytes(b"<html>gone</html>")
    report = transfer.evaluate(classifier, str(folder))
    assert report["images"] == 8
    assert [problem["where"] for problem in report["skipped"]] == ["test/down/1.png"]
    assert "web page" in report["skipped"][0]["why"]
    assert [c["support"] for c in report["classes"]] == [3, 2, 3]


def test_images_none_of_which_can_be_read_are_an_error_in_one_line(classifier, tmp_path):
    folder = draw_classes(tmp_path / "split" / "train", each=4).parent
    for path in draw_classes(folder / "test", each=2).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(SourceError) as caught:
        transfer.evaluate(classifier, str(folder))
    assert "found none" in str(caught.value) and "\n" not in str(caught.value)


def test_the_run_s_own_transform_is_used(copied_run, classifier):
    record = json.loads((copied_run / RECORD).read_text())
    record["transform"]["mean"] = [0.0, 0.0, 0.0]
    (copied_run / RECORD).write_text(json.dumps(record))
    darker = transfer.load(copied_run)
    assert not np.allclose(darker.scores(picture(0, 50)), classifier.scores(picture(0, 50)))


def constant(classes: tuple[str, ...], best: int) -> Classifier:
    """One that takes every picture for the same class."""

    class Constant(torch.nn.Linear):
        def forward(self, pixels):
            return torch.eye(len(classes))[[best]].expand(len(pixels), -1)

    return Classifier(
        network=Constant(1, 1), transform=Transform(image_size=32), classes=classes, run=None
    )


def test_a_classifier_that_was_trained_elsewhere_is_evaluated(stripes):
    report = transfer.evaluate(constant(CLASSES, 1), str(stripes), "train")
    assert [c["label"] for c in report["classes"]] == list(CLASSES)
    assert report["accuracy"] == pytest.approx(1 / 3, abs=0.1)


def test_of_very_many_classes_the_report_has_those_that_occur(stripes):
    classes = tuple(f"kind {i}" for i in range(5_000)) + CLASSES
    report = transfer.evaluate(constant(classes, 7), str(stripes), "train")
    assert [c["label"] for c in report["classes"]] == ["kind 7", *CLASSES]
    assert len(report["confusion"]) == 4 and report["accuracy"] == 0
    assert {mistake["predicted"] for mistake in report["mistakes"]} == {"kind 7"}
    assert {mistake["label"] for mistake in report["mistakes"]} <= set(CLASSES)
