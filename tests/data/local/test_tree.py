import os
import unicodedata

import pytest

from tests.data.local.test_folder import draw, issues, refusal
from transfer.data.image import load_image
from transfer.data.local.folder import open_folder
from transfer.data.source import open_dataset
from transfer.errors import SourceError
from transfer.settings import TrainingSettings


def with_table(folder, text: str, name: str = "metadata.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("names", "classes", "counts"),
    [
        ("a/b/cat/1.png a/b/dog/2.png", "cat dog", {"train": 2}),
        (
            "x/Train/cat/1.png x/Train/dog/2.png x/val/dog/3.png x/test_set/cat/4.png",
            "cat dog",
            {"test": 1, "train": 2, "validation": 1},
        ),
        ("cat/a/1.png cat/b/2.png dog/a/3.png dog/b/4.png dog/5.png", "cat dog", {"train": 5}),
        ("cat/images/1.png dog/images/2.png", "cat dog", {"train": 2}),
        (
            "training_set/training_set/cat/1.png training_set/training_set/dog/2.png "
            "test_set/test_set/dog/3.png test_set/test_set/cat/4.png",
            "cat dog",
            {"test": 2, "train": 2},
        ),
        (
            "a/train/b/images/cat/1.png a/train/b/images/dog/2.png a/test/cat/2020/3.png",
            "cat dog",
            {"test": 1, "train": 2},
        ),
        ("test/cat/1.png test/dog/2.png val/cat/3.png", "cat dog", {"test": 2, "validation": 1}),
    ],
)
def test_splits_and_classes_are_found_by_their_folders(tmp_path, names, classes, counts):
    images = open_folder(draw(tmp_path, *names.split(" ")))
    assert images.classes == tuple(classes.split(" "))
    assert images.counts() == counts and images.problems == ()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("train/cat/1.png val/cat/2.png valid/cat/3.png", "validation, found val and valid"),
        (
            "x/seg_train/cat/1.png x/seg_train/dog/2.png x/seg_test/cat/3.png x/seg_test/dog/4.png",
            "('cat', 'dog') in each of 'seg_test', 'seg_train'; name these train",
        ),
        (
            "a_train/a_train/cat/1.png a_train/a_train/dog/2.png a_test/cat/3.png a_pred/4.png",
            "found 'a_pred', 'a_test', 'a_train'; name these train",
        ),
        ("trainA/1.png trainB/2.png testA/3.png testB/4.png", "found 'testA', 'testB', 'trainA'"),
        ("train2017/images/1.png val2017/images/2.png", "found 'train2017', 'val2017'"),
        ("test/cat/1.png test/dog/2.png more/cat/3.png", "found 'test'; name these train"),
        ("train/val/cat/1.png train/val/dog/2.png test/cat/3.png", "found 'val'; name these train"),
        ("train/train/1.png test/test/2.png", "those of splits ('test', 'train')"),
        ("val/1.png test/2.png", "('test/2.png': not in the folder of a class, and 1 more"),
        ("bus/1.png car/2.png train/3.png", "if 'train' is a class, give it another name"),
        (
            " ".join(f"{n}/{split}/{n}.png" for n in range(12) for split in ("train", "Test")),
            "found 'Test', 'train' within them; move the images to train/CLASS",
        ),
    ],
)
def test_ambiguous_splits_are_refused(tmp_path, names, words):
    assert words in refusal(draw(tmp_path, *names.split(" ")))


def test_a_class_that_is_called_like_a_split_is_reported(tmp_path):
    images = open_folder(draw(tmp_path, "test/1.png", "control/2.png", "bullet_train/3.png"))
    assert images.classes == ("bullet_train", "control", "test") and images.skipped() == 0
    why = "taken as a class, though it is named like a split"
    assert issues(images) == {"bullet_train": why, "test": why}


@pytest.mark.parametrize(
    ("names", "table", "words"),
    [
        ("cat/1 cat/2 dog/3", "", "('cat/1': not named as an image, and 2 more like it)"),
        ("1.png 2.png", "labels.csv", "'labels.csv': not read: a table of labels is called meta"),
        ("images/1.png images/2.png", "labels.csv", "a table of labels is called metadata.csv"),
        ("a/images/1.png 2.png", "metadata.csv", "'metadata.csv row 2': there is no image '1.png'"),
        ("cat/1 dog/2", "cat/metadata.csv", "this table is not beside the folders of classes"),
    ],
)
def test_an_error_says_what_was_found_and_not_used(tmp_path, names, table, words):
    draw(tmp_path, *names.split(" "))
    if table:
        with_table(tmp_path, "file_name,label\n1.png,cat\n", table)
    with pytest.raises(SourceError) as caught:
        open_folder(tmp_path).check_classes()
    assert words in str(caught.value)


def test_a_column_of_splits_is_no_column_of_labels(tmp_path):
    draw(tmp_path, "1.png", "2.png")
    with_table(tmp_path, "file_name,kind\n1.png,train\n2.png,test\n")
    assert "those of splits ('test', 'train'); choose other labels" in refusal(tmp_path)


def test_blanks_around_a_file_name_in_a_table_are_ignored(tmp_path):
    draw(tmp_path, "1.png", " 2.png")
    with_table(tmp_path, "file_name,label\n 1.png ,cat\n 2.png,dog\n")
    assert open_folder(tmp_path).class_counts() == {"cat": 1, "dog": 1}


def test_a_table_gives_classes_to_images_in_any_folder(tmp_path):
    names = [unicodedata.normalize("NFD", name) for name in ("é.png", "x/a/b.png", "x/c.png")]
    draw(tmp_path, *names)
    with_table(tmp_path, "file_name,label,kind\né.png,10,a\nx\\a\\b.png,9,b\n./x/c.png,10,b\n")
    images = open_folder(tmp_path)
    assert images.classes == ("9", "10") and images.label_column == "label"
    assert images.splits["train"].names == ("x/a/b.png", names[0], "x/c.png")
    assert images.problems == ()
    chosen = open_dataset(str(tmp_path), TrainingSettings(label_column="kind"))
    assert chosen.classes == ("a", "b") and chosen.label_column == "kind"


def test_tables_may_be_in_each_split_or_above_all_of_them(tmp_path):
    draw(tmp_path, "train/1.png", "train/2.png", "test/1.png", "extra/3.png")
    with_table(tmp_path / "train", "file_name,label\n1.png,cat\n2.png,dog\n")
    with_table(tmp_path / "test", '{"file_name": "1.png", "label": "dog"}\n', "metadata.jsonl")
    images = open_folder(tmp_path)
    assert images.counts() == {"test": 1, "train": 2}
    assert images.splits["test"].labels.tolist() == [1]
    for split in ("train/metadata.csv", "test/metadata.jsonl"):
        (tmp_path / split).unlink()
    rows = "train/1.png,cat\ntrain/2.png,dog\ntest/1.png,dog\nextra/3.png,dog\n"
    with_table(tmp_path, f"file,label\n{rows}")
    images = open_folder(tmp_path)
    assert images.counts() == {"test": 1, "train": 2}
    assert list(issues(images)) == ["extra"] and images.skipped() == 1


def test_splits_are_found_in_a_column_of_the_table(tmp_path):
    draw(tmp_path, *(f"{i}.png" for i in range(6)))
    splits = "train train val extra test test".split()
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{split}\n" for i, split in enumerate(splits))
    with_table(tmp_path, f"file_name,label,split\n{rows}")
    images = open_folder(tmp_path)
    assert images.counts() == {"train": 2, "validation": 1, "test": 2}
    assert issues(images) == {"split 'extra'": "not used: not train, validation or test"}
    assert images.skipped() == 1
    with_table(tmp_path, "file_name,label,split\n0.png,a,train\n0.png,a,test\n")
    assert "one split for '0.png'" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [("", "7", "it holds '7'"), ("train/", "test", "the folders are the splits")],
)
def test_a_column_of_splits_that_is_not_used_is_reported(tmp_path, place, value, why):
    other = "test/9.png" if place else "9.png"
    draw(tmp_path, *(f"{place}{i}.png" for i in range(4)), other)
    rows = "".join(f"{place}{i}.png,{'ab'[i % 2]},{value}\n" for i in range(4))
    with_table(tmp_path, f"file_name,label,split\n{rows}{other},a,{value}\n")
    images = open_folder(tmp_path)
    assert images.counts()["train"] == (4 if place else 5)
    assert why in issues(images)["the table's column of splits"]


def test_hidden_labels_in_a_table_are_not_used(tmp_path):
    draw(tmp_path, *(f"{i}.png" for i in range(8)))
    kinds = ("a,train", "b,train", "?,test", "?,test") * 2
    rows = "".join(f"{i}.png,{kind}\n" for i, kind in enumerate(kinds))
    with_table(tmp_path, f"file_name,label,split\n{rows}")
    images = open_folder(tmp_path)
    assert (images.counts(), images.classes) == ({"train": 4}, ("a", "b"))
    assert "seem to be hidden" in issues(images)["split 'test'"]


def test_class_folders_of_two_unicode_forms_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD")]
    draw(tmp_path, *(f"train/{name}/1.png" for name in (*names, "Biene")), f"test/{names[1]}/1.png")
    images = open_folder(tmp_path)
    assert images.class_counts() == {"Biene": 1, names[0]: 3}
    assert f"train/{names[1]}/1.png" in images.splits["train"].names
    draw(
        tmp_path / "of others",
        f"a/{names[0]}/1.png",
        f"b/{names[1]}/1.png",
        "a/x/1.png",
        "b/x/1.png",
    )
    assert "the same folders" in refusal(tmp_path / "of others")


def test_names_that_are_not_utf_8_can_be_written_everywhere(tmp_path):
    draw(tmp_path, os.fsdecode(b"caf\xe9/1\xe9.png"), "dog/1.png", os.fsdecode(b"dog/x\xe9.txt"))
    images = open_folder(tmp_path)
    assert images.classes == (r"caf\udce9", "dog")
    assert images.splits["train"].names[0] == r"caf\udce9/1\udce9.png"
    assert [problem.where for problem in images.problems] == [r"dog/x\udce9.txt"]
    assert load_image(images.splits["train"].read(0)).size == (8, 8)


def test_rows_and_files_without_a_partner_are_reported(tmp_path):
    draw(tmp_path / "pets", "1.png", "2.png", "3.png")
    draw(tmp_path, "secret.png")
    rows = ("1.png,cat", "2.png,", "gone.png,cat", "../secret.png,cat", "/etc/passwd,cat")
    with_table(tmp_path / "pets", "file_name,label\n" + "\n".join(rows) + "\n")
    images = open_folder(tmp_path / "pets")
    assert issues(images) == {
        "metadata.csv row 3": "no label",
        "metadata.csv row 4": "there is no image 'gone.png' in this folder",
        "metadata.csv row 5": "there is no image '../secret.png' in this folder",
        "metadata.csv row 6": "there is no image '/etc/passwd' in this folder",
        "2.png": "not in the table of labels",
        "3.png": "not in the table of labels",
    }
    assert images.class_counts() == {"cat": 1} and images.skipped() == 2


def test_two_labels_of_one_image_are_refused(tmp_path):
    draw(tmp_path, "1.png")
    with_table(tmp_path, "file_name,label\n1.png,cat\n1.png,dog\n")
    assert "found 'cat' and 'dog'" in refusal(tmp_path)
