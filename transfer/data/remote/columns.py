"""Which column holds the images and which the labels; every choice that was open is told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from transfer.data.dataset import DataIssue
from transfer.data.image import load_image
from transfer.data.labels import MAX_CLASSES, listed
from transfer.data.local.tree import is_image
from transfer.data.remote.cells import Files
from transfer.errors import ImageError, SourceError

LABEL_NAMES = ("label", "labels", "class", "class_name", "cls", "category", "target", "y")
ROWS_LOOKED_AT = 20


class NoLabelsError(SourceError):
    """There is no column of labels; an image folder may still have folders to take them from."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What the user asked for of a data set; None is "choose it"."""

    config: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    limit_per_class: int | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table seen from above: its column types, and of each column some values.

    `head(column)` gives the first few; `values(column)` as many as can be had at little cost.
    """

    features: dict
    head: Callable[[str], list]
    values: Callable[[str], list]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The two columns that were chosen, and what there is to say about the choice."""

    image: str
    label: str
    problems: tuple[DataIssue, ...] = field(default=())


def choose_columns(look: TableView, files: Files, wish: LoadOptions) -> Columns:
    """Raises SourceError; NoLabelsError where only the labels are missing."""
    image, of_image = _image_column(look, files, wish.image_column)
    label, of_label = _label_column(look, wish.label_column, image)
    told = [
        DataIssue(where=f"column {column!r}", why=why, skipped=0)
        for column, why in ((image, of_image), (label, of_label))
        if why
    ]
    return Columns(image=image, label=label, problems=tuple(told))


def _image_column(look: TableView, files: Files, wanted: str | None) -> tuple[str, str | None]:
    """(column, what to tell). A column of type Image comes before one of bytes."""
    from datasets import Image

    images = [c for c, feature in look.features.items() if isinstance(feature, Image)]
    found = images + [c for c in look.features if c not in images and _has_bytes(look, c)]
    holding = [column for column in found if _shows_images(look, files, column)]
    if wanted is not None and wanted not in found:
        raise SourceError(
            f"expected a column of images called {wanted!r}, found {_described(look.features)}; "
            "pass --image-column"
        )
    if wanted is None and not holding:
        raise SourceError(_no_images(look, found))
    column = wanted or holding[0]
    if column not in holding:
        raise SourceError(_no_images(look, [column]))
    others = [other for other in holding if other != column]
    if others and wanted is None:
        return column, f"taken as the image; also {listed(others)}: --image-column chooses"
    return column, None if column in images else "taken as the image: its bytes are pictures"


def _has_bytes(look: TableView, column: str) -> bool:
    """Whether it is of bytes, or of {"bytes": …}."""
    feature = look.features[column]
    inner = feature.get("bytes") if isinstance(feature, dict) else feature
    return getattr(inner, "dtype", None) in ("binary", "large_binary")


def _shows_images(look: TableView, files: Files, column: str) -> bool:
    """Whether one of the first cells can be opened; an Image column of nothing but nulls can."""
    cells = [cell for cell in look.head(column) if cell is not None]
    typed = not _has_bytes(look, column)
    if not cells:
        return typed
    for cell in cells:
        if files.name(cell):
            return True
        try:
            data = files.read(cell)
            if typed:
                return True
            load_image(data)
        except ImageError:
            continue
        return True
    return False


def _no_images(look: TableView, found: list[str]) -> str:
    paths = [c for c in (*found, *look.features) if _names_images(look, c)]
    if paths:
        return (
            f"expected images, found only their paths or addresses in column {paths[0]!r}, whose "
            "files are not in the data set; choose a set that holds the images themselves"
        )
    return (
        f"expected a column of images, found {_described(look.features)}; choose another data set, "
        "or pass --image-column"
    )


def _names_images(look: TableView, column: str) -> bool:
    """Whether its first cells are paths or addresses of images, and nothing more."""
    cells = look.head(column)
    paths = [c["path"] for c in cells if isinstance(c, dict) and c.get("path") and not c["bytes"]]
    texts = paths or [cell for cell in cells if isinstance(cell, str)]
    return bool(texts) and all(is_image(text.partition("?")[0]) for text in texts)


def _label_column(look: TableView, wanted: str | None, image: str) -> tuple[str, str | None]:
    """(column, what to tell): class names, else a name that says it, else few values."""
    from datasets import ClassLabel

    features = {c: feature for c, feature in look.features.items() if c != image}
    if wanted is not None:
        return _wanted_label(features, wanted), None
    named = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    named.sort(key=lambda column: column not in LABEL_NAMES)
    if named:
        others = f"taken as the label; also {listed(named[1:])}: --label-column chooses"
        return named[0], others if named[1:] else None
    plain = [column for column, feature in features.items() if _is_plain(feature)]
    for column in (*(c for c in LABEL_NAMES if c in plain), *plain):
        values = look.values(column)
        distinct = len(set(values))
        few = 2 <= distinct <= min(MAX_CLASSES, len(values) // 2)
        if few or column in LABEL_NAMES:
            return column, f"taken as the label: no ClassLabel column, and {distinct} values here"
    raise NoLabelsError(_no_labels(features))


def _wanted_label(features: dict, wanted: str) -> str:
    if wanted not in features:
        kind = NoLabelsError if wanted == "label" else SourceError
        raise kind(
            f"expected a column of labels called {wanted!r}, found {_described(features)}; "
            "pass --label-column"
        )
    if _is_list(features[wanted]):
        raise SourceError(_no_labels({wanted: features[wanted]}))
    if type(features[wanted]).__name__ not in ("ClassLabel", "Value"):
        raise SourceError(
            f"expected names or numbers as labels in column {wanted!r}, found "
            f"{_kind(features[wanted])}; choose another with --label-column"
        )
    return wanted


def _no_labels(features: dict) -> str:
    lists = [column for column, feature in features.items() if _is_list(feature)]
    if lists:
        return (
            f"expected one label an image, found lists in column {lists[0]!r}; choose another with "
            "--label-column"
        )
    return (
        f"expected a column of labels, found {_described(features) or 'none'}; pass --label-column"
    )


def _is_plain(feature) -> bool:
    dtype = getattr(feature, "dtype", "")
    return isinstance(dtype, str) and dtype in ("string", "large_string", "bool", *_INTEGERS)


_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def _is_list(feature) -> bool:
    from datasets import LargeList, List

    return isinstance(feature, (List, LargeList, list, dict))


def _described(features: dict) -> str:
    return ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())


def _kind(feature) -> str:
    dtype = getattr(feature, "dtype", None)
    return dtype if type(feature).__name__ == "Value" else type(feature).__name__
