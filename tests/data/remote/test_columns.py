from dataclasses import dataclass

import pytest

from tests.hub_datasets import class_type, image_type, pictures
from transfer.data.remote.columns import Columns, LoadOptions, choose_columns
from transfer.data.remote.files import DatasetFiles

FILES = DatasetFiles(root="hf://datasets/user/name@abc/")
KINDS = (None, list("ababab"))
IMAGES = (image_type(), pictures(6))


@dataclass
class Rows:
    features: dict
    cells: dict

    def values(self, column: str, rows: int | None = None) -> list:
        return self.cells[column][:rows]


def chosen(**columns) -> Columns:
    """Of columns of (type, cells); the type of plain values is guessed."""
    import datasets

    cells = {name: values for name, (_, values) in columns.items()}
    plain = {name: values for name, (kind, values) in columns.items() if kind is None}
    guessed = datasets.Dataset.from_dict(plain).features if plain else {}
    features = {name: kind or guessed[name] for name, (kind, _) in columns.items()}
    return choose_columns(Rows(features, cells), FILES, LoadOptions())


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
