import pytest

from tests.hub_datasets import class_type, image_type, picture, pictures
from transfer.data.remote.cells import Files
from transfer.data.remote.columns import LoadOptions, NoLabelsError, TableView, choose_columns
from transfer.errors import SourceError

FILES = Files(root="hf://datasets/user/name@abc/")


def look(**columns) -> TableView:
    """Of (type, values); the type of plain values is guessed."""
    import datasets

    values = {name: cells for name, (_, cells) in columns.items()}
    plain = {name: cells for name, (kind, cells) in columns.items() if kind is None}
    guessed = datasets.Dataset.from_dict(plain).features if plain else {}
    types = {name: kind or guessed[name] for name, (kind, _) in columns.items()}
    return TableView(features=types, head=lambda c: values[c][:20], values=values.__getitem__)


def chosen(**columns) -> tuple[str, str]:
    columns = choose_columns(look(**columns), FILES, LoadOptions())
    return columns.image, columns.label


def images(number: int = 6):
    return image_type(), pictures(number)


def test_an_image_type_comes_before_bytes():
    columns = {"raw": (None, [picture(1)] * 6), "photo": images(), "label": (None, list("ababab"))}
    assert chosen(**columns) == ("photo", "label")


def test_bytes_must_hold_pictures():
    columns = {"sound": (None, [b"RIFF"] * 6), "raw": (None, [None, picture(1)] * 3)}
    assert chosen(**columns, label=(None, list("ababab"))) == ("raw", "label")


def test_a_column_of_files_in_the_data_set_holds_images():
    cell = {"bytes": None, "path": f"{FILES.root}train/1.png"}
    assert chosen(image=(image_type(), [cell] * 4), label=(None, list("abab")))[0] == "image"


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        ({"width": (None, [1, 1, 2, 2, 1, 2]), "label": (None, list("abcdef"))}, "label"),
        ({"text": (None, list("abcdef")), "kind": (None, list("ababab"))}, "kind"),
        ({"one": (None, ["x"] * 6), "kind": (None, list("ababab"))}, "kind"),
        ({"size": (None, [1.5, 2.5] * 3), "kind": (None, list("ababab"))}, "kind"),
        ({"kind": (None, list("ababab")), "label": (class_type("x", "y"), [0, 1] * 3)}, "label"),
    ],
    ids=["by its name", "few values", "more than one", "no decimals", "class names first"],
)
def test_the_label_is_found(labels, column):
    assert chosen(image=images(), **labels)[1] == column


def test_the_image_is_never_its_own_label():
    with pytest.raises(NoLabelsError, match="found none"):
        chosen(image=images())


def test_only_missing_labels_may_still_be_found_elsewhere():
    """An image folder has its folders; a wrong name of a column is a mistake."""
    for wish, kind in (("label", NoLabelsError), ("labbel", SourceError)):
        with pytest.raises(SourceError) as caught:
            choose_columns(look(image=images()), FILES, LoadOptions(label_column=wish))
        assert type(caught.value) is kind


def test_a_choice_that_was_asked_for_is_not_told():
    columns = {"a": images(), "b": images(), "x": (None, list("ababab")), "y": (None, [1, 2] * 3)}
    wish = LoadOptions(image_column="b", label_column="y")
    found = choose_columns(look(**columns), FILES, wish)
    assert (found.image, found.label, found.problems) == ("b", "y", ())
