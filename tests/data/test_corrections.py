import json

import pytest

from tests.data.test_dataset import labelled
from transfer.data.corrections import LEFT_OUT, left_out, read_corrections, with_corrections
from transfer.data.splits import with_all_splits
from transfer.errors import SourceError
from transfer.settings import Correction


@pytest.fixture
def images():
    return with_all_splits(labelled(train=[0, 1, 2] * 10), 0)


def test_labels_change_and_images_that_are_left_out_stay_in_place(images):
    train, validation = images.splits["train"], images.splits["validation"]
    relabelled, dropped = train.names[0], validation.names[1]
    other = images.classes[(train.labels[0] + 1) % 3]
    corrections = (
        Correction(where=relabelled, label=other),
        Correction(where=dropped, leave_out=True),
    )
    found = with_corrections(images, corrections)
    assert images.classes[found.splits["train"].labels[0]] == other
    assert found.splits["train"].labels[1:].tolist() == train.labels[1:].tolist()
    assert {name: split.names for name, split in found.splits.items()} == {
        name: split.names for name, split in images.splits.items()
    }
    assert found.splits["test"] == images.splits["test"]
    assert [(issue.where, issue.why) for issue in found.problems] == [(dropped, LEFT_OUT)]
    assert left_out(corrections) == {dropped}


def test_corrections_that_fit_no_image_to_learn_from_are_refused(images):
    tested, learned = images.splits["test"].names[0], images.splits["train"].names[0]
    for where, label, words in [
        (tested, "ant", "training and validation images, found .* of the test images"),
        ("elsewhere.jpg", "ant", "images of this dataset, found 'elsewhere.jpg'"),
        (learned, "wasp", "'ant', 'bee', 'cow', found 'wasp'"),
    ]:
        with pytest.raises(SourceError, match=words):
            with_corrections(images, (Correction(where=where, label=label),))
    names = (name for split in ("train", "validation") for name in images.splits[split].names)
    everything = tuple(Correction(where=name, leave_out=True) for name in names)
    with pytest.raises(SourceError, match="expected train images in 'ant' that the corrections"):
        with_corrections(images, everything)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labels: no JSON", "found something that is not JSON"),
        ("[]", 'found no list called "corrections"'),
        ('{"corrections": [{"where": "a", "lable": "ant"}]}', "lable"),
        ('{"corrections": ["a"]}', 'found "a"'),
        ('{"corrections": [{"where": "a"}]}', "either a label or leave_out, found neither"),
        (json.dumps({"corrections": [{"where": "a", "label": "ant"}] * 2}), "several for 'a'"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, words):
    file = tmp_path / "corrections.json"
    file.write_text(text)
    with pytest.raises(SourceError, match=words):
        read_corrections(file)
    file.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        read_corrections(file)
