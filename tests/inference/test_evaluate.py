import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch

import transfer
from tests.tiny import CLASSES, draw_classes, picture
from transfer.errors import RunError, SettingsError, SourceError, TransferError


class Limited(torch.nn.Sequential):
    """Runs out of memory on more than `most` images."""

    most = 2

    def forward(self, pixels):
        if len(pixels) > self.most:
            raise MemoryError
        return super().forward(pixels)


def test_the_training_s_own_test_images_give_the_report_again(classifier, run, stripes):
    report = transfer.evaluate(classifier, str(stripes))
    calibrated = run.report["calibration"]["after"]
    assert report["split"] == "test" and report["source"] == str(stripes)
    assert report["held_out"] is True and report["skipped"] == []
    assert report["calibration"]["error"] == pytest.approx(calibrated["error"], abs=1e-3)
    assert calibrated["error"] != pytest.approx(run.report["calibration"]["before"]["error"])
    assert report["sets"] == run.report["sets"]
    assert report["unknown"] == pytest.approx(run.report["unknown"]["found"])
    for key in ("accuracy", "interval", "images", "classes", "confusion"):
        assert report[key] == run.report[key], key
    assert [m["name"] for m in report["mistakes"]] == [m["name"] for m in run.report["mistakes"]]


def test_little_memory_takes_longer_and_progress_is_reported(classifier, run, stripes, monkeypatch):
    monkeypatch.setattr("transfer.inference.evaluate.MAX_BATCH", 3)
    limited = Limited(classifier.network)
    small, seen = replace(classifier, network=limited, familiarity=None), []
    report = transfer.evaluate(small, str(stripes), report=seen.append)
    assert report["confusion"] == run.report["confusion"]
    images = report["images"]
    assert [event.done for event in seen] == [*range(3, images, 3), images]
    assert {event.total for event in seen} == {images}
    monkeypatch.setattr(Limited, "most", 0)
    with pytest.raises(TransferError, match="expected enough memory for one image"):
        transfer.evaluate(small, str(stripes))


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


def test_classes_are_matched_in_any_unicode_form(classifier, tmp_path):
    names = [unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD")]
    for name in names:
        draw_classes(tmp_path / ascii(name) / "test", each=3, classes=("across", name))
        draw_classes(tmp_path / ascii(name) / "train", each=3, classes=("across", name))
        for trained in names:  # before names had one form, runs had the form of the disk
            other = replace(classifier, classes=("across", trained, "spots"), run=None)
            report = transfer.evaluate(other, str(tmp_path / ascii(name)))
            assert [row["support"] for row in report["classes"]] == [3, 3, 0]


def test_unknown_classes_and_splits_and_unreadable_images_are_refused(classifier, tmp_path):
    folder = draw_classes(tmp_path / "others", each=5, classes=("across", "waves"))
    with pytest.raises(RunError, match=r"across, down, spots.*'waves'"):
        transfer.evaluate(classifier, str(folder))
    folder = draw_classes(tmp_path / "split" / "train", each=4).parent
    with pytest.raises(SettingsError, match="train, validation, test, found 'all'"):
        transfer.evaluate(classifier, str(folder), "all")
    for path in draw_classes(folder / "test", each=2).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="found none"):
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
