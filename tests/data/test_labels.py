import pytest

from tests.hub_datasets import class_type
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.errors import SourceError

TEXT = object()


def read(feature, *values) -> list:
    reader = label_reader(feature)
    return [reader(value) for value in values]


def test_a_class_below_zero_is_none():
    assert read(class_type("x", "y"), 0, 1, -1, None) == [0, 1, None, None]


def test_whole_decimals_are_whole_numbers():
    found = read(TEXT, 1.0, 2.5, float("nan"), -1, "", "a", None, True)
    assert found == [1, 2.5, None, -1, None, "a", None, True]


@pytest.mark.parametrize(
    ("test", "used"),
    [
        ([0, 1], True),
        ([0] * 9, True),
        ([0] * 10, False),
        ([2], False),
        ([None, None], False),
        ([], False),
    ],
    ids=["two classes", "alike by chance", "all alike", "unheard of", "none", "empty"],
)
def test_hidden_labels_are_seen_through(test, used):
    problems = []
    values = {"train": [0, 1, 1], "test": test}
    _, labels = number_labels(values, class_type("x", "y", "z"), "label", problems)
    assert ("test" in labels) == used
    assert any("split 'test'" in problem.where for problem in problems) != used


def test_a_train_split_of_one_class_keeps_it():
    assert number_labels({"train": ["a"] * 20}, TEXT, "label", [])[0] == ("a",)


def test_classes_are_numbered_through_over_all_splits():
    names, labels = number_labels({"train": ["b", None, "c"], "test": ["a", "b"]}, TEXT, "k", [])
    assert names == ("a", "b", "c")
    assert {split: rows.tolist() for split, rows in labels.items()} == {
        "train": [1, -1, 2],
        "test": [0, 1],
    }


def test_a_class_without_images_is_left_out_and_told():
    problems = []
    names, labels = number_labels({"train": [2, 0, 2]}, class_type("x", "y", "z"), "k", problems)
    assert (names, labels["train"].tolist()) == (("x", "z"), [1, 0, 1])
    assert [problem.why for problem in problems] == ["no image of 'y': left out"]


def test_no_labels_anywhere_are_refused():
    with pytest.raises(SourceError, match="expected labels in column 'k', found none in train"):
        number_labels({"train": [None, None]}, TEXT, "k", [])


def test_splits_come_train_first_and_once():
    problems = []
    assert used_splits(["test", "dev", "val", "extra", "train"], problems) == {
        "train": "train",
        "dev": "validation",
        "test": "test",
    }
    assert [problem.where for problem in problems] == ["split 'val'", "split 'extra'"]


def test_a_single_split_is_for_training_whatever_its_name():
    assert used_splits(["full"], []) == {"full": "train"}
    assert used_splits(["test"], []) == {"test": "test"}


def test_splits_of_unknown_names_are_refused():
    with pytest.raises(SourceError, match="found fold1, fold2; choose another data set"):
        used_splits(["fold1", "fold2"], [])
