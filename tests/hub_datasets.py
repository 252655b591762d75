"""Datasets of many shapes as people publish them on the Hub, each with what is expected of it.

Picture number n has the colour (n % 256, n // 256, 0), so that a test can tell its row.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image


@dataclass(kw_only=True)
class Shape:
    """`labels` names the class of each training picture, None where it is not used.

    `splits` are those that are used. `problem` must be among the problems, `refused` in the error.
    The `broken` rows hold no readable picture.
    """

    files: dict[str, bytes]
    labels: list[str | None] = field(default_factory=list)
    splits: tuple[str, ...] = ("train",)
    problem: str = ""
    refused: str = ""
    broken: tuple[int, ...] = ()
    options: dict = field(default_factory=dict)


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
PETS = ["cat"] * 3 + ["dog"] * 3


def one(labels: list | None = None, data: bytes | None = None, **expected) -> Shape:
    """A dataset of one Parquet file."""
    data = plain(*SIX) if data is None else data
    return Shape(files={"train.parquet": data}, labels=labels or [], **expected)


def typed(rows: int, types: dict | None = None, **columns) -> bytes:
    """Parquet of numbered pictures in `image`, and other columns."""
    return parquet({"image": image_type()} | (types or {}), image=pictures(rows), **columns)


def insects(**columns) -> bytes:
    """Parquet with the usual `label`, and images in other columns."""
    types = {"label": class_type("wasp", "ant")}
    types |= {name: image_type() for name in columns if name in ("image", "mask")}
    return parquet(types, label=SIX, **columns)


def paths_elsewhere() -> bytes:
    import datasets
    import pyarrow as pa
    from pyarrow import parquet as files

    cells = [{"bytes": None, "path": f"/data/ants/{row}.jpg"} for row in range(6)]
    types = datasets.Features(image=image_type(), label=class_type("wasp", "ant"))
    file = io.BytesIO()
    files.write_table(pa.table({"image": cells, "label": SIX}, types.arrow_schema), file)
    return file.getvalue()


def contest(test: bytes, why: str) -> Shape:
    """A dataset whose test labels are hidden."""
    return Shape(
        files={"data/train.parquet": plain(*SIX), "data/test.parquet": test},
        labels=named(SIX),
        problem=f"split 'test': not used: {why}",
    )


def splits_of_other_names() -> Shape:
    splits = {"train": "a.parquet", "extra": "b.parquet", "val": "b.parquet", "dev": "b.parquet"}
    readme = card(config_of("default", **splits))
    return Shape(
        files={"README.md": readme, "a.parquet": plain(*SIX), "b.parquet": plain(0, 1)},
        labels=named(SIX),
        splits=("train", "validation"),
        problem="split 'dev': not used: there is another",
    )


def two_configs(chosen: str | None, **expected) -> Shape:
    readme = card(config_of("summer", train="a/*"), config_of("winter", train="b/*"))
    files = {"a/0.parquet": plain(0, 1, names=("x", "y")), "b/0.parquet": plain(*SIX)}
    return Shape(files=files | {"README.md": readme}, options={"config": chosen}, **expected)


def in_folders(*where: str) -> dict[str, bytes]:
    """Files of three pictures a class folder, numbered through."""
    numbered = [(folder, number) for folder in where for number in range(3)]
    return {f"{folder}/{number}.png": picture(row) for row, (folder, number) in enumerate(numbered)}


def folder_with_metadata(column: str, values: list[str], labels: list, **expected) -> Shape:
    files = in_folders("train/cat", "train/dog")
    file = io.StringIO()
    rows = zip((name.removeprefix("train/") for name in files), values, strict=True)
    csv.writer(file).writerows([("file_name", column), *rows])
    files["train/metadata.csv"] = file.getvalue().encode()
    return Shape(files=files, labels=labels, **expected)


def zip_of_folders() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in in_folders("cat", "dog").items():
            archive.writestr(name, data)
    return file.getvalue()


def tar_of_pairs() -> bytes:
    """Pictures and labels as WebDataset stores them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for row, label in enumerate(SIX):
            for suffix, data in (("png", picture(row)), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{row:03}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


BREEDS = ["tabby", "siamese", "tabby", "siamese", "tabby", "tabby"]
GUESSED = "taken as the label"
SHAPES: dict[str, Callable[[], Shape]] = {
    "class names": lambda: Shape(
        files={"data/train.parquet": plain(*SIX), "data/test.parquet": plain(1, 0)},
        labels=named(SIX),
        splits=("train", "test"),
    ),
    "string labels": lambda: one(BREEDS, typed(6, kind=BREEDS), problem=f"'kind': {GUESSED}"),
    "whole numbers stored as decimals": lambda: one(
        ["1", "2", None, "1"],
        typed(4, grade=[1.0, 2.0, None, 1.0]),
        options={"label_column": "grade"},
        problem="1 rows without label",
    ),
    "decimals": lambda: one(
        data=typed(4, size=[1.5, 2.5, 1.5, 2.0]),
        options={"label_column": "size"},
        refused="found decimals; choose another with --label-column",
    ),
    "two kinds of labels": lambda: one(
        named(SIX, ("oak", "elm")),
        typed(
            6,
            {"fine": class_type("oak", "elm"), "coarse": class_type("tree")},
            fine=SIX,
            coarse=[0] * 6,
        ),
        problem="'fine': taken as the label; also 'coarse': --label-column chooses",
    ),
    "two image columns": lambda: one(
        named(SIX),
        insects(image=pictures(6), mask=[{"bytes": picture(99), "path": None}] * 6),
        problem="'image': taken as the image; also 'mask': --image-column chooses",
    ),
    "bytes alone": lambda: one(
        named(SIX),
        insects(content=[picture(row) for row in range(6)]),
        problem="'content': taken as the image: its bytes are pictures",
    ),
    "bytes that are no pictures": lambda: one(
        data=insects(sound=[b"RIFF"] * 6),
        refused="not only of paths or addresses, found label (ClassLabel), sound",
    ),
    "an image column of paths elsewhere": lambda: one(
        data=paths_elsewhere(), refused="not only of paths or addresses, found image (Image)"
    ),
    "no labels": lambda: one(data=typed(4), refused="found none; pass --label-column"),
    "captions": lambda: one(
        data=typed(6, caption=[f"picture {row}" for row in range(6)]),
        refused="found caption (string); pass --label-column",
    ),
    "rows without label": lambda: one(
        ["a", None, "b", None, "a", "b"],
        typed(6, label=["a", None, "b", "", "a", "b"]),
        problem="split 'train': 2 rows without label",
    ),
    "hidden test labels": lambda: contest(plain(-1, -1), "it has no labels"),
    "splits of other names": splits_of_other_names,
    "one of two configs": lambda: two_configs("winter", labels=named(SIX)),
    "no config chosen": lambda: two_configs(
        None, refused="(summer, winter), found none; pass --config"
    ),
    "damaged and missing pictures": lambda: one(
        named([*SIX, 0, 1]),
        parquet(
            {"image": image_type(), "label": class_type("wasp", "ant")},
            image=[*pictures(6), {"bytes": picture(6)[:40], "path": None}, None],
            label=[*SIX, 0, 1],
        ),
        broken=(6, 7),
    ),
    "an image folder": lambda: Shape(files=in_folders("train/cat", "train/dog"), labels=PETS),
    "labels in the metadata": lambda: folder_with_metadata("breed", BREEDS, BREEDS),
    "captions in the metadata": lambda: folder_with_metadata(
        "text", [f"photo {n}" for n in range(6)], PETS, problem="'label': the folders' names"
    ),
    "an image folder in a zip": lambda: Shape(files={"train.zip": zip_of_folders()}, labels=PETS),
    "a tar of pairs": lambda: Shape(
        files={"train-0.tar": tar_of_pairs()}, labels=[str(n) for n in SIX], problem=GUESSED
    ),
    "a script alone": lambda: Shape(
        files={"a_script_alone.py": b"raise SystemExit(3)"}, refused="without running its"
    ),
    "nothing": lambda: Shape(files={}, refused="holds nothing"),
    "a damaged file": lambda: one(data=b"PAR1 nothing PAR1", refused="holds nothing"),
    "a table without images": lambda: Shape(
        files={"train.csv": b"a,b\n1,2\n3,4\n"}, refused="found a (int64), b (int64)"
    ),
    "files of different columns": lambda: Shape(
        files={
            "train-0.parquet": plain(*SIX),
            "train-1.parquet": insects(image=pictures(6), more=list("abcdef")),
        },
        refused="expected the same columns in all files",
    ),
}
