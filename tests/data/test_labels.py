import pytest

from tests.hub_datasets import class_type
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.errors import SourceError

TEXT = object()


def test_stored_labels_are_made_comparable():
    read = label_reader(class_type("x", "y"))
    assert [read(value) for value in (0, 1, -1, None)] == [0, 1, None, None]
    read = label_reader(TEXT)
    found = [read(value) for value in (1.0, 2.5, float("nan"), -1, " ", "a ", "NaN", True)]
    assert found == [1, 2.5, None, -1, None, "a", None, True]


@pytest.mark.parametrize(
    ("test", "used"),
    [([0, 1], True), ([0] * 9, True), ([0] * 10, False), ([2], False), ([None], False)],
    ids=["two classes", "equal by chance", "all equal", "not in train", "none"],
)
def test_hidden_labels_are_detected(test, used):
    problems = []
    values = {"train": [0, 1, 1], "test": test}
    _, labels = number_labels(values, class_type("x", "y", "z"), "label", problems)
    assert ("test" in labels) == used
    assert any("split 'test'" in problem.where for problem in problems) != used


def test_classes_are_numbered_over_all_splits():
    names, labels = number_labels({"train": ["b", None, "c"], "test": ["a", "b"]}, TEXT, "k", [])
    assert names == ("a", "b", "c")
    assert {split: rows.tolist() for split, rows in labels.items()} == {
        "train": [1, -1, 2],
        "test": [0, 1],
    }
    assert number_labels({"train": ["a"] * 20}, TEXT, "label", [])[0] == ("a",)


def test_a_column_of_splits_is_no_column_of_labels():
    with pytest.raises(SourceError, match=r"those of splits \('test_a', 'train_a'\)"):
        number_labels({"train": ["train_a", "test_a", "b"]}, TEXT, "label", [])


def test_names_that_look_the_same_are_one_class():
    forms = ["Ka\u0308fer", "K\u00e4fer", "K\u00e4fer\u200b "]
    read = label_reader(TEXT)
    names, labels = number_labels({"train": [*map(read, forms), "b"]}, TEXT, "k", [])
    assert names == ("K\u00e4fer", "b") and labels["train"].tolist() == [0, 0, 0, 1]
    names, labels = number_labels({"train": [0, 1, 2]}, class_type(*forms[:2], "b"), "k", [])
    assert names == ("K\u00e4fer", "b") and labels["train"].tolist() == [0, 0, 1]
    family, persian = "\U0001f468\u200d\U0001f467", "\u0645\u06cc\u200c\u062e"  # with joiners
    assert [read(family), read(persian), read("cat \ud83d")] == [family, persian, r"cat \ud83d"]


def test_a_class_without_images_is_left_out_and_reported():
    problems = []
    names, labels = number_labels({"train": [2, 0, 2]}, class_type("x", "y", "z"), "k", problems)
    assert (names, labels["train"].tolist()) == (("x", "z"), [1, 0, 1])
    assert [problem.why for problem in problems] == ["no image of 'y': left out"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None, None], "expected labels in column 'k', found none in train"),
        ([*range(1001)], "at most 1000 classes in column 'k', found 1001"),
    ],
    ids=["none", "too many"],
)
def test_unusable_labels_are_refused(values, words):
    with pytest.raises(SourceError, match=words):
        number_labels({"train": values}, TEXT, "k", [])


def test_splits_are_used_by_their_names_train_first():
    problems = []
    found = used_splits(["test", "dev", "val", "extra", "train"], problems)
    assert list(found.items()) == [("train", "train"), ("dev", "validation"), ("test", "test")]
    assert [problem.where for problem in problems] == ["split 'val'", "split 'extra'"]
    assert used_splits(["full"], []) == {"full": "train"}
    assert used_splits(["test"], []) == {"test": "test"}
    with pytest.raises(SourceError, match="found fold1, fold2; choose another dataset"):
        used_splits(["fold1", "fold2"], [])
