import io
import time

import numpy as np
import pytest
from PIL import Image

from transfer.errors import SourceError
from transfer.image import load_image
from transfer.source.hub import open_hub

CONFIGS = """---
configs:
- config_name: {}
  data_files: a/*.parquet
- config_name: {}
  data_files: b/*.parquet
---
"""


def colours(labels) -> list[Image.Image]:
    """One flat 8 px picture a label: its colour tells the row it came from."""
    return [Image.new("RGB", (8, 8), (10 * row % 256, 0, 0)) for row, _ in enumerate(labels)]


def parquet(labels, *, classes=None, image="image", label="label", **more) -> bytes:
    """A Parquet file of pictures and labels as `datasets` writes it."""
    import datasets

    columns = {image: colours(labels), label: labels} | more
    table = datasets.Dataset.from_dict(columns).cast_column(image, datasets.Image())
    if classes:
        table = table.cast_column(label, datasets.ClassLabel(names=classes))
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


def refusal(name: str, **options) -> str:
    with pytest.raises(SourceError) as caught:
        open_hub(name, **options)
    message = str(caught.value)
    assert "\n" not in message and "/tmp" not in message and "http" not in message
    return message


def problems(images) -> str:
    return "; ".join(f"{problem.where}: {problem.why}" for problem in images.problems)


def test_a_data_set_with_class_names(hub):
    train, test = [0, 1, 1, 0, 1, 0], [1, 0]
    repository = hub.add(
        "datasets",
        "someone/insects",
        {
            "data/train-00000-of-00001.parquet": parquet(train, classes=["wasp", "ant"]),
            "data/test-00000-of-00001.parquet": parquet(test, classes=["wasp", "ant"]),
        },
    )
    images = open_hub("someone/insects")
    assert images.source == "hub:someone/insects"
    assert images.revision == repository.sha
    assert images.classes == ("wasp", "ant")
    assert (images.image_column, images.label_column) == ("image", "label")
    assert images.counts() == {"train": 6, "test": 2}
    assert images.splits["train"].labels.tolist() == train
    assert images.splits["train"].labels.dtype == np.int64
    assert images.splits["test"].labels.tolist() == test
    assert images.problems == ()
    for row in range(6):
        assert load_image(images.splits["train"].read(row)).getpixel((0, 0)) == (10 * row, 0, 0)


def test_string_labels_and_columns_of_any_name(hub):
    kinds = ["zebra", "ant", "zebra", "ant", "bee", "bee"]
    data = parquet(kinds, image="img", label="kind", file=[f"{i}.png" for i in range(6)])
    hub.add("datasets", "someone/kinds", {"train.parquet": data})
    images = open_hub("someone/kinds")
    assert images.classes == ("ant", "bee", "zebra")
    assert images.splits["train"].labels.tolist() == [2, 0, 2, 0, 1, 1]
    assert (images.image_column, images.label_column) == ("img", "kind")
    assert "column 'kind': taken as the label" in problems(images)
    assert load_image(images.splits["train"].read(3)).getpixel((0, 0)) == (30, 0, 0)


def test_labels_that_are_numbers_are_classes_in_their_order(hub):
    hub.add("datasets", "someone/numbers", {"train.parquet": parquet([10, 2, 10, 2, 2, 10])})
    images = open_hub("someone/numbers")
    assert images.classes == ("2", "10")
    assert images.splits["train"].labels.tolist() == [1, 0, 1, 0, 0, 1]


def test_the_columns_may_be_named(hub):
    data = parquet([0, 1, 0, 1], classes=["x", "y"], sex=["f", "m", "m", "m"])
    hub.add("datasets", "someone/birds", {"train.parquet": data})
    images = open_hub("someone/birds", label_column="sex")
    assert (images.classes, images.label_column) == (("f", "m"), "sex")
    assert images.splits["train"].labels.tolist() == [0, 1, 1, 1]
    message = refusal("someone/birds", label_column="size")
    assert "'size'" in message and "sex (Value)" in message and "--label-column" in message
    message = refusal("someone/birds", image_column="label")
    assert "'label'" in message and "image (Image)" in message and "--image-column" in message


def test_a_set_without_validation_gets_no_split_here(hub):
    hub.add("datasets", "someone/one", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    assert list(open_hub("someone/one").splits) == ["train"]


def test_an_unlabelled_test_split_is_left_out_and_told(hub):
    classes = ["x", "y"]
    hub.add(
        "datasets",
        "someone/contest",
        {
            "data/train.parquet": parquet([0, 1, 1, 0], classes=classes),
            "data/validation.parquet": parquet([0, -1, 1], classes=classes),
            "data/test.parquet": parquet([-1, -1], classes=classes),
        },
    )
    images = open_hub("someone/contest")
    assert images.counts() == {"train": 4, "validation": 2}
    assert "split 'test': not used: it has no labels" in problems(images)
    assert "split 'validation': 1 rows without label" in problems(images)
    last = load_image(images.splits["validation"].read(1))
    assert last.getpixel((0, 0)) == (20, 0, 0)
    assert images.splits["validation"].names[1] == "validation row 2"


def test_a_folder_of_image_files_on_the_hub(hub):
    def png(shade: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
        return file.getvalue()

    files = {f"train/{name}/{i}.png": png(i) for name in ("cat", "dog") for i in range(3)}
    hub.add("datasets", "someone/pets", files)
    images = open_hub("someone/pets")
    assert images.class_counts() == {"cat": 3, "dog": 3}
    shades = [load_image(images.splits["train"].read(i)).getpixel((0, 0))[0] for i in range(6)]
    assert sorted(shades) == [0, 0, 1, 1, 2, 2]


def test_a_new_revision_is_seen(hub):
    first = hub.add("datasets", "someone/new", {"train.parquet": parquet([0, 1, 1])})
    assert open_hub("someone/new", label_column="label").revision == first.sha
    second = hub.add("datasets", "someone/new", {"train.parquet": parquet([0, 1, 1, 0])})
    images = open_hub("someone/new", label_column="label")
    assert images.revision == second.sha != first.sha
    assert images.counts() == {"train": 4}


def test_a_bare_name_finds_its_owner(hub):
    hub.add("datasets", "someone/old", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    assert open_hub("old").source == "hub:someone/old"


def test_a_local_folder_of_the_same_name_is_not_taken(hub, tmp_path, monkeypatch):
    hub.add("datasets", "someone/same", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    (tmp_path / "someone/same").mkdir(parents=True)
    (tmp_path / "someone/same/train.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert open_hub("someone/same").classes == ("x", "y")


def test_two_configs_are_listed(hub):
    files = {
        "README.md": CONFIGS.format("summer", "winter").encode(),
        "a/train.parquet": parquet([0, 1], classes=["x", "y"]),
        "b/train.parquet": parquet([0, 1, 1, 1], classes=["x", "y"]),
    }
    hub.add("datasets", "someone/two", files)
    message = refusal("someone/two")
    assert "(summer, winter), found none" in message and "--config" in message
    assert "found autumn" in refusal("someone/two", config="autumn")
    images = open_hub("someone/two", config="winter")
    assert images.source == "hub:someone/two (winter)"
    assert images.counts() == {"train": 4}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": b"hello"}, "holds nothing"),
        ({}, "holds nothing"),
        ({"script.py": b"raise SystemExit(3)"}, "without running its code"),
        ({"train.parquet": b"PAR1 this is nothing PAR1"}, "holds nothing"),
        ({"train.csv": b"a,b\n1,2\n3,4\n"}, "expected a column of images"),
    ],
    ids=["only a card", "empty", "script", "broken", "no images"],
)
def test_a_data_set_that_cannot_be_learned_from(hub, files, words):
    name = next(iter(files), "nothing").split(".")[0].lower()
    hub.add("datasets", f"useless/{name}", files)
    assert words in refusal(f"useless/{name}")


def test_an_image_without_any_label(hub):
    import datasets

    table = datasets.Dataset.from_dict({"image": colours(range(4))})
    file = io.BytesIO()
    table.cast_column("image", datasets.Image()).to_parquet(file)
    hub.add("datasets", "someone/views", {"train.parquet": file.getvalue()})
    assert "expected a column of labels, found image (Image)" in refusal("someone/views")


def test_too_many_classes_are_refused(hub):
    data = parquet([f"name {i}" for i in range(1001)])
    hub.add("datasets", "someone/names", {"train.parquet": data})
    message = refusal("someone/names", label_column="label")
    assert "at most 1000 classes in column 'label', found 1001" in message


def test_rows_without_a_label_are_left_out(hub):
    data = parquet(["a", None, "b", "a"], label="kind")
    hub.add("datasets", "someone/gaps", {"train.parquet": data})
    images = open_hub("someone/gaps", label_column="kind")
    assert images.splits["train"].labels.tolist() == [0, 1, 0]
    assert load_image(images.splits["train"].read(1)).getpixel((0, 0)) == (20, 0, 0)


def test_lists_of_labels_are_refused(hub):
    data = parquet([[0, 1], [1], [0], [1]], label="tags")
    hub.add("datasets", "someone/tags", {"train.parquet": data})
    assert "lists" in refusal("someone/tags", label_column="tags")


@pytest.mark.parametrize("gated", ["all", "files"])
def test_a_gated_set_says_that_its_terms_come_first(hub, gated):
    hub.add("datasets", f"gated/{gated}", {"train.parquet": b""}, gated=gated)
    message = refusal(f"gated/{gated}")
    assert "terms" in message and "hf auth login" in message and f"gated/{gated}" in message


@pytest.mark.parametrize("name", ["someone/nothing", "no such name", "a/b/c"])
def test_an_unknown_set_is_told(hub, name):
    assert f"found none called '{name}'" in refusal(name)


@pytest.mark.parametrize("mood", ["busy", "silent"])
def test_a_hub_that_does_not_answer_is_told_soon(hub, mood):
    hub.add("datasets", "someone/there", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    started = time.monotonic()
    with hub.in_mood(mood):
        assert "does not answer" in refusal("someone/there")
    assert time.monotonic() - started < 5


def test_a_hub_that_is_not_there_is_told_soon(hub):
    started = time.monotonic()
    with hub.gone():
        assert "does not answer" in refusal("someone/there")
    assert time.monotonic() - started < 5


def test_a_hub_that_fails_halfway_is_told(hub, monkeypatch):
    hub.add("datasets", "someone/half", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's own retries
    with hub.in_mood("halfway"):
        assert "does not answer" in refusal("someone/half")
