from dataclasses import dataclass

import pytest

from tests.hub_datasets import class_type, image_type, picture, pictures
from transfer.data.remote.columns import Columns, LoadOptions, NoLabelsError, choose_columns
from transfer.data.remote.files import DatasetFiles
from transfer.errors import SourceError

FILES = DatasetFiles(root="hf://datasets/user/name@abc/")
KINDS = (None, list("ababab"))
IMAGES = (image_type(), pictures(6))


@dataclass
class Rows:
    features: dict
    cells: dict

    def values(self, column: str, rows: int | None = None) -> list:
        return self.cells[column][:rows]


def chosen(options: LoadOptions | None = None, **columns) -> Columns:
    """Of columns of (type, cells); the type of plain values is guessed."""
    import datasets

    cells = {name: values for name, (_, values) in columns.items()}
    plain = {name: values for name, (kind, values) in columns.items() if kind is None}
    guessed = datasets.Dataset.from_dict(plain).features if plain else {}
    features = {name: kind or guessed[name] for name, (kind, _) in columns.items()}
    return choose_columns(Rows(features, cells), FILES, options or LoadOptions())


@pytest.mark.parametrize(
    ("columns", "image"),
    [
        ({"raw": (None, [picture(1)] * 6), "photo": IMAGES}, "photo"),
        ({"sound": (None, [b"RIFF"] * 6), "raw": (None, [None, picture(1)] * 3)}, "raw"),
        ({"file": (image_type(), [{"bytes": None, "path": f"{FILES.root}1.png"}] * 6)}, "file"),
    ],
    ids=["a type comes before bytes", "bytes must be pictures", "files in the dataset"],
)
def test_the_image_column_is_found(columns, image):
    assert chosen(**columns, label=KINDS).image == image


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        ({"width": (None, [1, 1, 2, 2, 1, 2]), "label": (None, list("abcdef"))}, "label"),
        ({"text": (None, list("abcdef")), "kind": KINDS}, "kind"),
        ({"size": (None, [1.5, 2.5] * 3), "kind": KINDS}, "kind"),
        ({"kind": KINDS, "label": (class_type("x", "y"), [0, 1] * 3)}, "label"),
    ],
    ids=["by its name", "few values", "no decimals", "class names first"],
)
def test_the_label_column_is_found(labels, column):
    assert chosen(image=IMAGES, **labels).label == column


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, NoLabelsError, "found mask (Image); pass --label-column"),
        ({"label_column": "label"}, NoLabelsError, "called 'label'"),
        ({"label_column": "mask"}, SourceError, "found mask (Image); pass --label-column"),
        ({"image_column": "size"}, SourceError, "called 'size'"),
    ],
    ids=str,
)
def test_missing_labels_and_wrong_names_are_refused(options, kind, words):
    """Where only labels are missing, an image folder still has its folders."""
    with pytest.raises(SourceError) as caught:
        chosen(LoadOptions(**options), image=IMAGES, mask=IMAGES)
    assert type(caught.value) is kind and words in str(caught.value)


def test_columns_that_were_asked_for_are_no_problem():
    columns = {"a": IMAGES, "b": IMAGES, "x": KINDS, "y": (None, [1, 2] * 3)}
    found = chosen(LoadOptions(image_column="b", label_column="y"), **columns)
    assert found == Columns(image="b", label="y")
