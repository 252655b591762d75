"""Every shape of data set is learned from or refused in a sentence, whole or some of each class."""

import numpy as np
import pytest

from tests.data.remote.test_dataset import refusal
from tests.hub_datasets import (
    SHAPES,
    Shape,
    class_type,
    image_type,
    parquet,
    picture,
    pictures,
    row_of,
)
from tests.tiny import TINY, drained
from transfer.data.image import load_image
from transfer.data.remote.dataset import open_hub
from transfer.errors import ImageError
from transfer.training.recipe import training_events

ENOUGH = 1_000


@pytest.fixture(params=SHAPES)
def shape(request, hub):
    """(its name on the Hub, the shape)."""
    return put_up(hub, request.param)


@pytest.fixture(params=[None, ENOUGH], ids=["whole", "limited"])
def limit(request):
    return request.param


def put_up(hub, title: str) -> tuple[str, Shape]:
    name = f"shapes/{title.replace(' ', '_')}"
    made = SHAPES[title]()
    hub.add("datasets", name, made.files)
    return name, made


def read(split, classes: tuple[str, ...]) -> tuple[dict[int, str], int]:
    """(number of a picture → its class's name, how many could not be read)."""
    seen, broken = {}, 0
    for i in range(len(split)):
        try:
            seen[row_of(load_image(split.read(i)))] = classes[split.labels[i]]
        except ImageError:
            broken += 1
    return seen, broken


def test_a_shape_is_learned_from_or_refused(shape, limit):
    name, expected = shape
    if expected.refused:
        message = refusal(name, limit_per_class=limit, **expected.options)
        assert expected.refused in message
        return
    images = open_hub(name, limit_per_class=limit, **expected.options)
    train = images.splits["train"]
    seen, broken = read(train, images.classes)
    skipped = sum(problem.why == "there is no image in this row" for problem in images.problems)
    assert broken + skipped == len(expected.broken)
    assert seen == {
        row: label
        for row, label in enumerate(expected.labels)
        if label is not None and row not in expected.broken
    }
    assert train.labels.dtype == np.int64
    assert tuple(images.splits) == expected.splits
    problems = [f"{problem.where}: {problem.why}" for problem in images.problems]
    for told in expected.told:
        assert any(told in problem for problem in problems), problems


def test_a_plain_shape_has_nothing_to_tell(hub, limit):
    name, _ = put_up(hub, "class names")
    assert open_hub(name, limit_per_class=limit).problems == ()


def test_the_columns_may_be_named(hub, limit):
    name, _ = put_up(hub, "two image columns")
    images = open_hub(name, limit_per_class=limit, image_column="mask")
    assert images.image_column == "mask" and images.problems == ()
    assert row_of(load_image(images.splits["train"].read(3))) == 99


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label_column": "size"}, "called 'size', found mask (Image), label (ClassLabel)"),
        ({"label_column": "mask"}, "as labels in column 'mask', found Image"),
        ({"image_column": "label"}, "called 'label', found image (Image)"),
        ({"image_column": "size"}, "called 'size', found image (Image), mask (Image)"),
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_refused(hub, columns, words, limit):
    types = {"image": image_type(), "mask": image_type(), "label": class_type("x", "y")}
    names = [f"number {row}" for row in range(4)]
    cells = {"image": pictures(4), "mask": pictures(4), "label": [0, 1, 0, 1], "name": names}
    hub.add("datasets", "shapes/columns", {"train.parquet": parquet(types, **cells)})
    message = refusal("shapes/columns", limit_per_class=limit, **columns)
    assert words in message and f"--{next(iter(columns)).replace('_', '-')}" in message


def of_strings() -> dict[str, bytes]:
    kinds = [("ant", "bee", "wasp")[row % 3] for row in range(36)]
    data = parquet({"image": image_type()}, image=pictures(36), kind=kinds)
    return {"train.parquet": data}


def of_bytes() -> dict[str, bytes]:
    cells = [picture["bytes"] for picture in pictures(36)]
    data = parquet({}, content=cells, sick=[row % 2 == 0 for row in range(36)])
    return {"train.parquet": data}


def of_folders() -> dict[str, bytes]:
    return {
        f"train/{kind}/{number}.png": picture(number)
        for kind in ("ant", "bee")
        for number in range(30)
    }


@pytest.mark.parametrize(
    ("files", "classes", "options"),
    [
        (of_strings, ("ant", "bee", "wasp"), {}),
        (of_bytes, ("False", "True"), {}),
        (of_folders, ("ant", "bee"), {"limit_per_class": 12}),
    ],
    ids=["strings", "bytes", "folders, limited"],
)
def test_a_shape_is_trained_on(hub, tmp_path, files, classes, options):
    name = f"trained/{files.__name__}"
    repository = hub.add("datasets", name, files())
    small = TINY | {"head": "avg", "unfreeze": "none", "views": 1}
    _, run = drained(training_events(name, out=tmp_path / "run", **small, **options))
    assert run.classes == classes
    assert run.record["revision"] == repository.sha
