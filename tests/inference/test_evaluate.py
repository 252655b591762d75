import numpy as np
import pytest
import torch

import transfer
from tests.tiny import CLASSES, draw_classes, picture
from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError, SourceError
from transfer.inference.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(run):
    return transfer.load(run.path)


def constant(classes: tuple[str, ...], best: int) -> Classifier:
    """One that predicts the same class for every picture."""

    class Constant(torch.nn.Linear):
        def forward(self, pixels):
            return torch.eye(len(classes))[[best]].expand(len(pixels), -1)

    return Classifier(network=Constant(1, 1), transform=Transform(image_size=32), classes=classes)


def test_the_training_s_own_test_images_give_the_report_again(classifier, run, stripes):
    report = transfer.evaluate(classifier, str(stripes))
    assert report["split"] == "test" and report["source"] == str(stripes)
    assert report["held_out"] is True and report["skipped"] == []
    for key in ("accuracy", "interval", "images", "classes", "confusion"):
        assert report[key] == run.report[key], key
    assert [m["name"] for m in report["mistakes"]] == [m["name"] for m in run.report["mistakes"]]


def test_any_split_can_be_evaluated(classifier, run, stripes):
    report = transfer.evaluate(classifier, str(stripes), "train")
    assert report["images"] == run.record["result"]["images"]["train"]
    with pytest.raises(SettingsError, match="train, validation, test, found 'all'"):
        transfer.evaluate(classifier, str(stripes), "all")


def test_classes_are_matched_by_name_not_by_number(classifier, tmp_path):
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
    with pytest.raises(RunError, match=r"across, down, spots.*'waves'"):
        transfer.evaluate(classifier, str(folder))


def test_an_image_that_cannot_be_read_is_skipped_and_named(classifier, tmp_path, monkeypatch):
    """Its neighbours in the batch keep their own labels."""
    monkeypatch.setattr("transfer.inference.evaluate.MAX_BATCH", 3)
    folder = draw_classes(tmp_path / "split" / "test", each=3).parent
    draw_classes(folder / "train", each=4)
    broken = folder / "test" / "down" / "1.png"
    broken.write_bytes(b"<html>gone</html>")
    report = transfer.evaluate(classifier, str(folder))
    assert [problem["where"] for problem in report["skipped"]] == ["test/down/1.png"]
    assert "web page" in report["skipped"][0]["why"]
    one_by_one = np.zeros((3, 3), int)
    for path in set((folder / "test").rglob("*.png")) - {broken}:
        predicted = classifier.classify(path)[0].label
        one_by_one[CLASSES.index(path.parent.name), CLASSES.index(predicted)] += 1
    assert report["confusion"] == one_by_one.tolist()


def test_without_any_readable_image_the_error_says_so(classifier, tmp_path):
    folder = draw_classes(tmp_path / "split" / "train", each=4).parent
    for path in draw_classes(folder / "test", each=2).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="found none"):
        transfer.evaluate(classifier, str(folder))


def test_with_very_many_classes_the_report_lists_those_that_occur(stripes):
    classes = tuple(f"kind {i}" for i in range(5_000)) + CLASSES
    report = transfer.evaluate(constant(classes, 7), str(stripes), "train")
    assert [c["label"] for c in report["classes"]] == ["kind 7", *CLASSES]
    assert len(report["confusion"]) == 4 and report["accuracy"] == 0
    assert {mistake["predicted"] for mistake in report["mistakes"]} == {"kind 7"}
    assert {mistake["label"] for mistake in report["mistakes"]} <= set(CLASSES)
