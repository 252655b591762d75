import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split


def numbered(labels) -> Split:
    """Pictures that are their own row number."""
    names = tuple(f"row {i}" for i in range(len(labels)))
    return Split(labels=np.array(labels, dtype=np.int64), names=names, read=lambda i: i)


def labelled(**splits) -> ImageDataset:
    return ImageDataset(
        source="here",
        revision="1",
        classes=("ant", "bee", "cow"),
        splits={name: numbered(labels) for name, labels in splits.items()},
    )


def test_taking_rows_keeps_picture_name_and_label_together():
    taken = numbered([0, 1, 0, 1, 2]).take(np.array([4, 1]))
    assert (len(taken), taken.labels.tolist(), taken.names) == (2, [2, 1], ("row 4", "row 1"))
    again = taken.take(np.array([1]))
    assert (again.read(0), again.names, again.labels.tolist()) == (1, ("row 1",), [1])
    assert len(taken.take([])) == 0


def test_new_splits_keep_the_problems_and_add_to_them():
    first, second = (DataIssue(where=where, why="empty") for where in "ab")
    images = labelled(train=[0, 1, 1], test=[1]).with_splits({"train": numbered([0, 1])}, first)
    more = images.with_splits({"test": numbered([2])}, second)
    assert more.problems == (first, second) and images.problems == (first,)
    assert more.counts() == {"test": 1} and more.class_counts() == {"ant": 0, "bee": 0, "cow": 1}
