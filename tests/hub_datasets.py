"""Data sets of many shapes as people put them on the Hub, each with what is expected of it.

Picture number n has the colour (n % 256, n // 256, 0), so that a test can tell its row.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

SHAPES: dict[str, Callable[[], "Shape"]] = {}


@dataclass(kw_only=True)
class Shape:
    """`labels` names the class of each training picture, None where it is not used.

    `splits` are those that are used. `told` must stand among the problems, `refused` in the error;
    `broken` pictures are told when they are read, or when they are taken.
    """

    files: dict[str, bytes]
    labels: list[str | None] = field(default_factory=list)
    splits: tuple[str, ...] = ("train",)
    told: tuple[str, ...] = ()
    refused: str = ""
    broken: tuple[int, ...] = ()
    options: dict = field(default_factory=dict)


def shape(make: Callable[[], Shape]) -> Callable[[], Shape]:
    SHAPES[make.__name__.replace("_", " ")] = make
    return make


def picture(row: int, mode: str = "RGB", kind: str = "PNG") -> bytes:
    colour = row if mode == "L" else (row % 256, row // 256, 0)
    file = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(file, kind)
    return file.getvalue()


def pictures(number: int, **how) -> list[dict]:
    return [{"bytes": picture(row, **how), "path": None} for row in range(number)]


def row_of(image: Image.Image) -> int:
    """The number of the picture, in colour or grey."""
    red, green, blue = image.getpixel((0, 0))
    return red if blue else red + 256 * green


def parquet(types: dict, rows_a_group: int | None = None, **columns) -> bytes:
    """A Parquet file of these columns; a type is a `datasets` feature, else it is guessed."""
    import datasets

    table = datasets.Dataset.from_dict(columns)
    table = table.cast(datasets.Features(dict(table.features) | types))
    file = io.BytesIO()
    table.to_parquet(file, batch_size=rows_a_group)
    return file.getvalue()


def image_type():
    import datasets

    return datasets.Image()


def class_type(*names: str):
    import datasets

    return datasets.ClassLabel(names=list(names))


def card(*configs: str) -> bytes:
    return "\n".join(["---", "configs:", *configs, "---", ""]).encode()


def config_of(name: str, **splits: str) -> str:
    """YAML of a config: split → the files that hold it."""
    lines = [f"- config_name: {name}", "  data_files:"]
    for split, files in splits.items():
        lines += [f"  - split: {split}", f"    path: {files}"]
    return "\n".join(lines)


def plain(*labels: int, names: tuple[str, ...] = ("wasp", "ant"), **more) -> bytes:
    """The most usual file: `image` and `label` with class names."""
    types = {"image": image_type(), "label": class_type(*names)}
    return parquet(types, image=pictures(len(labels)), label=list(labels), **more)


def named(labels: list[int], names: tuple[str, ...] = ("wasp", "ant")) -> list[str | None]:
    return [names[label] if label >= 0 else None for label in labels]


SIX = [0, 1, 1, 0, 1, 0]


@shape
def class_names() -> Shape:
    files = {"data/train.parquet": plain(*SIX), "data/test.parquet": plain(1, 0)}
    return Shape(files=files, labels=named(SIX), splits=("train", "test"))


@shape
def no_validation_split() -> Shape:
    return Shape(files={"train.parquet": plain(*SIX)}, labels=named(SIX))


@shape
def string_labels() -> Shape:
    kinds = ["zebra", "ant", "zebra", "ant", "bee", "bee"]
    data = parquet({"image": image_type()}, image=pictures(6), kind=kinds)
    return Shape(files={"train.parquet": data}, labels=kinds, told=("'kind': taken as the label",))


@shape
def whole_numbers_as_labels() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(6), label=[10, 2, 10, 2, 2, 10])
    labels = ["10", "2", "10", "2", "2", "10"]
    return Shape(files={"train.parquet": data}, labels=labels, told=("taken as the label",))


@shape
def whole_numbers_kept_as_decimals() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(4), grade=[1.0, 2.0, None, 1.0])
    return Shape(
        files={"train.parquet": data},
        labels=["1", "2", None, "1"],
        options={"label_column": "grade"},
        told=("1 rows without label",),
    )


@shape
def decimals() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(4), size=[1.5, 2.5, 1.5, 2.0])
    return Shape(
        files={"train.parquet": data},
        options={"label_column": "size"},
        refused="found decimals; choose another with --label-column",
    )


@shape
def true_and_false() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(4), sick=[True, False, False, True])
    labels = ["True", "False", "False", "True"]
    return Shape(files={"train.parquet": data}, labels=labels, told=("'sick': taken as the label",))


@shape
def other_column_names_and_two_kinds_of_labels() -> Shape:
    types = {
        "img": image_type(),
        "fine_label": class_type("oak", "elm"),
        "coarse_label": class_type("tree"),
    }
    data = parquet(types, img=pictures(6), fine_label=SIX, coarse_label=[0] * 6)
    return Shape(
        files={"train.parquet": data},
        labels=named(SIX, ("oak", "elm")),
        told=("'fine_label': taken as the label; also 'coarse_label': --label-column chooses",),
    )


@shape
def the_name_label_before_other_class_names() -> Shape:
    types = {"image": image_type(), "scan": class_type("x", "y"), "label": class_type("a", "b")}
    data = parquet(types, image=pictures(6), scan=[0, 0, 0, 1, 1, 1], label=SIX)
    return Shape(files={"train.parquet": data}, labels=named(SIX, ("a", "b")))


@shape
def two_image_columns() -> Shape:
    types = {"image": image_type(), "mask": image_type(), "label": class_type("wasp", "ant")}
    masks = [{"bytes": picture(99), "path": None}] * 6
    data = parquet(types, image=pictures(6), mask=masks, label=SIX)
    return Shape(
        files={"train.parquet": data},
        labels=named(SIX),
        told=("'image': taken as the image; also 'mask': --image-column chooses",),
    )


@shape
def bytes_alone() -> Shape:
    encoded = [picture(row) for row in range(6)]
    data = parquet({"label": class_type("wasp", "ant")}, content=encoded, label=SIX)
    told = ("'content': taken as the image: its bytes are pictures",)
    return Shape(files={"train.parquet": data}, labels=named(SIX), told=told)


@shape
def bytes_and_path_without_a_type() -> Shape:
    cells = [{"bytes": picture(row), "path": f"{row}.png"} for row in range(6)]
    data = parquet({"label": class_type("wasp", "ant")}, picture=cells, label=SIX)
    told = ("'picture': taken as the image: its bytes are pictures",)
    return Shape(files={"train.parquet": data}, labels=named(SIX), told=told)


@shape
def bytes_that_are_no_pictures() -> Shape:
    data = parquet({"label": class_type("wasp", "ant")}, sound=[b"RIFF"] * 6, label=SIX)
    return Shape(files={"train.parquet": data}, refused="expected a column of images, found sound")


@shape
def paths_alone() -> Shape:
    paths = [f"/data/ants/{row}.jpg" for row in range(6)]
    data = parquet({"label": class_type("wasp", "ant")}, file=paths, label=SIX)
    return Shape(files={"train.parquet": data}, refused="paths or addresses in column 'file'")


@shape
def an_image_column_of_paths_elsewhere() -> Shape:
    import datasets
    import pyarrow as pa
    from pyarrow import parquet as files

    cells = [{"bytes": None, "path": f"/data/ants/{row}.jpg"} for row in range(6)]
    types = datasets.Features(image=image_type(), label=class_type("wasp", "ant"))
    file = io.BytesIO()
    files.write_table(pa.table({"image": cells, "label": SIX}, types.arrow_schema), file)
    data = file.getvalue()
    return Shape(files={"train.parquet": data}, refused="paths or addresses in column 'image'")


@shape
def a_column_of_image_lists() -> Shape:
    import datasets

    types = {"images": datasets.List(datasets.Image()), "label": class_type("wasp", "ant")}
    data = parquet(types, images=[pictures(2)] * 6, label=SIX)
    return Shape(files={"train.parquet": data}, refused="expected a column of images, found images")


@shape
def no_labels_at_all() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(4))
    return Shape(files={"train.parquet": data}, refused="expected a column of labels, found none")


@shape
def lists_of_labels() -> Shape:
    data = parquet({"image": image_type()}, image=pictures(4), tags=[[0, 1], [1], [0], [1]])
    return Shape(files={"train.parquet": data}, refused="found lists in column 'tags'")


@shape
def captions_alone() -> Shape:
    captions = [f"picture number {row}" for row in range(6)]
    data = parquet({"image": image_type()}, image=pictures(6), caption=captions)
    refused = "expected a column of labels, found caption (string); pass --label-column"
    return Shape(files={"train.parquet": data}, refused=refused)


@shape
def rows_without_label() -> Shape:
    kinds = ["a", None, "b", "", "a", "b"]
    data = parquet({"image": image_type()}, image=pictures(6), label=kinds)
    return Shape(
        files={"train.parquet": data},
        labels=["a", None, "b", None, "a", "b"],
        told=("split 'train': 2 rows without label",),
    )


@shape
def a_class_without_images() -> Shape:
    names = ("wasp", "ant", "moth")
    return Shape(
        files={"train.parquet": plain(*SIX, names=names)},
        labels=named(SIX),
        told=("no image of 'moth': left out",),
    )


def contest(test: bytes, told: str) -> Shape:
    """A data set whose test split keeps its labels to itself."""
    return Shape(
        files={"data/train.parquet": plain(*SIX), "data/test.parquet": test},
        labels=named(SIX),
        told=(f"split 'test': not used: {told}",),
    )


@shape
def test_labels_are_minus_one() -> Shape:
    return contest(plain(-1, -1), "it has no labels")


@shape
def test_labels_are_missing() -> Shape:
    types = {"image": image_type(), "label": class_type("wasp", "ant")}
    return contest(parquet(types, image=pictures(2), label=[None, None]), "it has no labels")


@shape
def test_labels_are_all_the_first() -> Shape:
    return contest(plain(*[0] * 10), "every label is 'wasp'")


@shape
def test_labels_are_a_word_for_unknown() -> Shape:
    def of(*kinds: str) -> bytes:
        return parquet({"image": image_type()}, image=pictures(len(kinds)), label=list(kinds))

    labels = ["x", "y", "y", "x"]
    return Shape(
        files={"data/train.parquet": of(*labels), "data/test.parquet": of("?", "?")},
        labels=labels,
        told=("split 'test': not used: every label is '?'",),
    )


@shape
def test_has_no_column_of_labels() -> Shape:
    test = parquet({"image": image_type()}, image=pictures(2))
    return contest(test, "it has no labels")


def held_out(name: str) -> Shape:
    readme = card(config_of("default", train="a.parquet", **{name: "b.parquet"}))
    files = {"README.md": readme, "a.parquet": plain(*SIX), "b.parquet": plain(0, 1)}
    return Shape(files=files, labels=named(SIX), splits=("train", "validation"))


@shape
def validation_called_val() -> Shape:
    return held_out("val")


@shape
def validation_called_dev() -> Shape:
    return held_out("dev")


@shape
def validation_called_valid() -> Shape:
    return held_out("valid")


@shape
def splits_of_other_names() -> Shape:
    splits = {"train": "a.parquet", "extra": "b.parquet", "val": "b.parquet", "dev": "b.parquet"}
    return Shape(
        files={
            "README.md": card(config_of("default", **splits)),
            "a.parquet": plain(*SIX),
            "b.parquet": plain(0, 1),
        },
        labels=named(SIX),
        splits=("train", "validation"),
        told=("split 'extra': not used: not train", "split 'dev': not used: there is another"),
    )


@shape
def one_split_of_another_name() -> Shape:
    readme = card(config_of("default", full="a.parquet"))
    return Shape(files={"README.md": readme, "a.parquet": plain(*SIX)}, labels=named(SIX))


TWO_CONFIGS = card(config_of("summer", train="a/*"), config_of("winter", train="b/*"))


@shape
def one_of_two_configs() -> Shape:
    files = {
        "README.md": TWO_CONFIGS,
        "a/0.parquet": plain(0, 1, names=("x", "y")),
        "b/0.parquet": plain(*SIX),
    }
    return Shape(files=files, labels=named(SIX), options={"config": "winter"})


@shape
def two_configs_and_none_chosen() -> Shape:
    files = {"README.md": TWO_CONFIGS, "a/0.parquet": plain(0, 1), "b/0.parquet": plain(*SIX)}
    return Shape(files=files, refused="(summer, winter), found none; pass --config")


@shape
def an_unknown_config() -> Shape:
    files = {"README.md": TWO_CONFIGS, "a/0.parquet": plain(0, 1), "b/0.parquet": plain(*SIX)}
    refused = "(summer, winter), found autumn; pass --config"
    return Shape(files=files, refused=refused, options={"config": "autumn"})


@shape
def grey_pictures() -> Shape:
    types = {"image": image_type(), "label": class_type("wasp", "ant")}
    data = parquet(types, image=pictures(6, mode="L"), label=SIX)
    return Shape(files={"train.parquet": data}, labels=named(SIX))


@shape
def damaged_and_missing_pictures() -> Shape:
    cells = [*pictures(6), {"bytes": picture(6)[:40], "path": None}, None]
    types = {"image": image_type(), "label": class_type("wasp", "ant")}
    data = parquet(types, image=cells, label=[*SIX, 0, 1])
    return Shape(files={"train.parquet": data}, labels=named([*SIX, 0, 1]), broken=(6, 7))


@shape
def a_thousand_classes() -> Shape:
    names = tuple(f"class {number}" for number in range(1000))
    labels = [*range(1000), *range(1000)]
    return Shape(files={"train.parquet": plain(*labels, names=names)}, labels=named(labels, names))


@shape
def more_than_a_thousand_classes() -> Shape:
    names = tuple(f"class {number}" for number in range(1001))
    data = plain(*range(1001), names=names)
    return Shape(files={"train.parquet": data}, refused="at most 1000 classes in column 'label'")


def in_folders(*where: str) -> dict[str, bytes]:
    """Files of three pictures a class folder, numbered through."""
    numbered = [(folder, number) for folder in where for number in range(3)]
    return {f"{folder}/{number}.png": picture(row) for row, (folder, number) in enumerate(numbered)}


PETS = ["cat"] * 3 + ["dog"] * 3


@shape
def an_image_folder() -> Shape:
    return Shape(files=in_folders("train/cat", "train/dog"), labels=PETS)


def metadata(*header: str, rows: list) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue().encode()


@shape
def an_image_folder_with_labels_in_its_metadata() -> Shape:
    labels = ["tabby", "siamese", "tabby", "siamese", "tabby", "tabby"]
    files = in_folders("train/one", "train/two")
    names = [name.removeprefix("train/") for name in files]
    table = metadata("file_name", "breed", rows=list(zip(names, labels, strict=True)))
    return Shape(
        files=files | {"train/metadata.csv": table},
        labels=labels,
        told=("'breed': taken as the label",),
    )


@shape
def an_image_folder_with_other_metadata() -> Shape:
    files = in_folders("train/cat", "train/dog")
    names = [name.removeprefix("train/") for name in files]
    rows = [(name, f"photo {number}") for number, name in enumerate(names)]
    table = metadata("file_name", "caption", rows=rows)
    told = ("column 'label': the folders' names",)
    return Shape(files=files | {"train/metadata.csv": table}, labels=PETS, told=told)


@shape
def an_image_folder_in_a_zip() -> Shape:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in in_folders("cat", "dog").items():
            archive.writestr(name, data)
    return Shape(files={"train.zip": file.getvalue()}, labels=PETS)


@shape
def a_heap_of_images() -> Shape:
    files = {f"train/{row}.png": picture(row) for row in range(4)}
    return Shape(files=files, refused="expected a column of labels, found none")


@shape
def an_archive_of_pairs() -> Shape:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for row, label in enumerate(SIX):
            for suffix, data in (("png", picture(row)), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{row:03}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    labels = [str(label) for label in SIX]
    told = ("'cls': taken as the label",)
    return Shape(files={"train-0.tar": file.getvalue()}, labels=labels, told=told)


@shape
def a_script_alone() -> Shape:
    return Shape(files={"a_script_alone.py": b"raise SystemExit(3)"}, refused="without running its")


@shape
def a_card_alone() -> Shape:
    return Shape(files={"README.md": b"hello"}, refused="holds nothing")


@shape
def nothing() -> Shape:
    return Shape(files={}, refused="holds nothing")


@shape
def a_broken_file() -> Shape:
    return Shape(files={"train.parquet": b"PAR1 nothing PAR1"}, refused="holds nothing")


@shape
def a_table_without_images() -> Shape:
    files = {"train.csv": b"a,b\n1,2\n3,4\n"}
    return Shape(files=files, refused="expected a column of images, found a (int64), b (int64)")


@shape
def files_of_different_columns() -> Shape:
    types = {"image": image_type(), "label": class_type("wasp", "ant")}
    other = parquet(types, image=pictures(6), label=SIX, more=list("abcdef"))
    files = {"train-0.parquet": plain(*SIX), "train-1.parquet": other}
    return Shape(files=files, refused="expected the same columns in all files")
