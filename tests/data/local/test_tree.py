import unicodedata
from pathlib import Path

import pytest

from tests.data.local.test_folder import draw, refusal, told
from transfer.data.local.folder import open_folder
from transfer.data.local.tree import is_image, is_junk
from transfer.data.source import open_dataset
from transfer.settings import TrainingSettings


def with_table(folder, text: str, name: str = "metadata.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("wrap", ["inner", "a/b"])
def test_one_folder_around_the_classes_is_no_class(tmp_path, wrap):
    images = open_folder(draw(tmp_path, f"{wrap}/cat/1.png", f"{wrap}/dog/2.png"))
    assert images.classes == ("cat", "dog")
    assert images.splits["train"].names == (f"{wrap}/cat/1.png", f"{wrap}/dog/2.png")


def test_splits_are_found_one_folder_deeper(tmp_path):
    draw(tmp_path, "pets/train/cat/1.png", "pets/train/dog/2.png", "pets/test/cat/3.png")
    assert open_folder(tmp_path).counts() == {"test": 1, "train": 2}


def test_a_train_folder_alone_is_the_training_split(tmp_path):
    images = open_folder(draw(tmp_path, "train/cat/1.png", "train/dog/2.png"))
    assert images.counts() == {"train": 2} and images.classes == ("cat", "dog")


def test_one_class_folder_alone_is_one_class(tmp_path):
    assert open_folder(draw(tmp_path, "cat/1.png", "cat/2.png")).classes == ("cat",)


def test_images_outside_of_class_folders_are_told(tmp_path):
    images = open_folder(draw(tmp_path, "cat/1.png", "dog/2.png", "lost.png"))
    assert told(images) == {"lost.png": "not in the folder of a class"}


def test_folders_called_training_set_and_test_set_are_splits(tmp_path):
    draw(tmp_path, "training_set/cat/1.png", "training_set/dog/2.png", "test_set/cat/3.png")
    images = open_folder(tmp_path)
    assert images.classes == ("cat", "dog") and images.counts() == {"train": 2, "test": 1}


@pytest.mark.parametrize("wrap", ["", "pets/"])
def test_splits_of_other_names_are_not_taken_for_classes(tmp_path, wrap):
    names = (
        "seg_train/cat/1.png",
        "seg_train/dog/2.png",
        "seg_test/cat/3.png",
        "seg_test/dog/4.png",
    )
    draw(tmp_path, *(wrap + name for name in (*names, "lost.png")[: 5 if wrap else 4]))
    message = refusal(tmp_path)
    assert "('cat', 'dog') in each of 'seg_test', 'seg_train'; name these train" in message


@pytest.mark.parametrize(
    "names",
    [
        ("cat/images/1.png", "dog/images/2.png"),
        ("cat/a/1.png", "cat/b/2.png", "dog/a/3.png", "dog/c/4.png"),
        ("cat/a/1.png", "cat/b/2.png", "dog/a/3.png", "dog/b/4.png", "dog/5.png"),
        ("train/cat/a/1.png", "train/cat/b/1.png", "train/dog/a/1.png", "train/dog/b/1.png"),
    ],
)
def test_folders_within_classes_may_be_called_alike(tmp_path, names):
    assert open_folder(draw(tmp_path, *names)).classes == ("cat", "dog")


def test_many_classes_may_hold_the_same_folders(tmp_path):
    draw(
        tmp_path, *(f"{name}/{side}/1.png" for name in "abcdefghijk" for side in ("back", "front"))
    )
    assert len(open_folder(tmp_path).classes) == 11


def test_a_table_may_speak_of_images_in_any_folders(tmp_path):
    draw(tmp_path, "x/a/1.png", "x/b/2.png", "y/a/3.png", "y/b/4.png")
    with_table(tmp_path, "file,label\nx/a/1.png,cat\nx/b/2.png,dog\ny/a/3.png,cat\ny/b/4.png,dog\n")
    assert open_folder(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize("wrap", ["", "pets/"])
def test_what_lies_beside_the_splits_is_told_a_folder_at_a_time(tmp_path, wrap):
    names = ("train/cat/1.png", "train/dog/2.png", "extra/cat/3.png", "extra/4.png", "lost.png")
    images = open_folder(draw(tmp_path, *(wrap + name for name in names)))
    assert images.counts() == {"train": 2} and images.skipped() == 3
    assert told(images) == {
        "extra": "not used, for it is not called train, validation or test (images: 2)",
        f"{wrap}lost.png": "not in the folder of a split",
    }


def test_what_a_table_says_of_images_beside_the_splits_is_told(tmp_path):
    draw(tmp_path, "train/1.png", "train/2.png", "extra/3.png")
    with_table(tmp_path, "file,label\ntrain/1.png,cat\ntrain/2.png,dog\nextra/3.png,dog\n")
    images = open_folder(tmp_path)
    assert images.counts() == {"train": 2} and images.skipped() == 1
    assert list(told(images)) == ["extra"]


def test_a_table_beside_the_images_says_their_classes(tmp_path):
    draw(tmp_path, "a.png", "deep/b.png", "c.png")
    with_table(tmp_path, "file_name,label\na.png,cat\ndeep\\b.png,dog\n./c.png,cat\n")
    images = open_folder(tmp_path)
    assert images.classes == ("cat", "dog") and images.label_column == "label"
    assert images.splits["train"].names == ("a.png", "c.png", "deep/b.png")
    assert images.problems == ()


def test_every_split_may_have_its_table(tmp_path):
    draw(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    with_table(tmp_path / "train", "file_name,label\n1.png,cat\n2.png,dog\n")
    with_table(tmp_path / "test", '{"file_name": "1.png", "label": "dog"}\n', "metadata.jsonl")
    images = open_folder(tmp_path)
    assert images.counts() == {"test": 1, "train": 2}
    assert images.splits["test"].labels.tolist() == [1]


def test_one_table_may_speak_of_all_splits(tmp_path):
    draw(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    with_table(tmp_path, "file,label\ntrain/1.png,0\ntrain/2.png,10\ntest/1.png,9\n")
    images = open_folder(tmp_path)
    assert images.classes == ("0", "9", "10")
    assert images.counts() == {"test": 1, "train": 2}


def test_the_label_column_can_be_chosen(tmp_path):
    draw(tmp_path, "1.png", "2.png")
    with_table(tmp_path, "file_name,label,kind\n1.png,x,cat\n2.png,x,dog\n")
    images = open_dataset(str(tmp_path), TrainingSettings(label_column="kind"))
    assert images.classes == ("cat", "dog") and images.label_column == "kind"


def test_rows_and_files_that_find_no_partner_are_told(tmp_path):
    draw(tmp_path / "pets", "1.png", "2.png", "3.png")
    draw(tmp_path, "secret.png")
    rows = ("1.png,cat", "2.png,", "gone.png,cat", "../secret.png,cat", "/etc/passwd,cat")
    with_table(tmp_path / "pets", "file_name,label\n" + "\n".join(rows) + "\n")
    images = open_folder(tmp_path / "pets")
    assert told(images) == {
        "metadata.csv row 3": "no label",
        "metadata.csv row 4": "'gone.png' is no image that is there",
        "metadata.csv row 5": "'../secret.png' leaves the folder",
        "metadata.csv row 6": "'/etc/passwd' leaves the folder",
        "2.png": "not in the table of labels",
        "3.png": "not in the table of labels",
    }
    assert images.class_counts() == {"cat": 1} and images.skipped() == 2


def test_a_file_with_two_labels_is_refused(tmp_path):
    draw(tmp_path, "1.png")
    with_table(tmp_path, "file_name,label\n1.png,cat\n1.png,dog\n")
    assert "found 'cat' and 'dog'" in refusal(tmp_path)


def test_a_table_changes_the_revision(tmp_path):
    draw(tmp_path, "1.png", "2.png")
    with_table(tmp_path, "file_name,label\n1.png,cat\n2.png,dog\n")
    first = open_folder(tmp_path).revision
    with_table(tmp_path, "file_name,label\n1.png,cat\n2.png,bird\n")
    assert open_folder(tmp_path).revision != first


@pytest.mark.parametrize(
    ("name", "image"),
    [("a.JPG", True), ("x/a.tiff", True), ("a.b/c", False), (".png", False), ("a.txt", False)],
)
def test_images_are_known_by_their_names(name, image):
    assert is_image(name) is image


@pytest.mark.parametrize(
    ("name", "junk"),
    [(".DS_Store", True), ("__MACOSX", True), ("thumbs.DB", True), ("cat", False)],
)
def test_junk_is_known_by_its_name(name, junk):
    assert is_junk(name) is junk


def test_a_name_with_accents_is_the_same_however_they_are_written(tmp_path):
    draw(tmp_path, *(unicodedata.normalize("NFD", name) for name in ("é.png", "ü.png")))
    with_table(tmp_path, "file_name,label\né.png,cat\nü.png,dog\n")
    images = open_folder(tmp_path)
    assert images.class_counts() == {"cat": 1, "dog": 1} and images.problems == ()


def test_a_table_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    with_table(draw(tmp_path, "a.png"), "file_name,label\na.png,cat\n")

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "'metadata.csv' cannot be read (Permission denied)" in refusal(tmp_path)
