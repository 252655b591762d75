"""Which column holds the images and which the labels; every guess is reported."""

from dataclasses import dataclass
from typing import Protocol

from transfer.data.dataset import DataIssue, listed
from transfer.data.image import load_image
from transfer.data.labels import MAX_CLASSES
from transfer.data.local.tree import is_image
from transfer.data.remote.files import DatasetFiles
from transfer.errors import ImageError, SourceError
from transfer.settings import TrainingSettings

LABEL_NAMES = ("label", "labels", "class", "class_name", "cls", "category", "target", "y")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
PLAIN = ("string", "large_string", "bool", *INTEGERS)  # types that can be labels


class NoLabelsError(SourceError):
    """There is no column of labels; an image folder may still have class folders."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What the user asked for; None means "choose it"."""

    config: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    limit_per_class: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, settings: TrainingSettings) -> "LoadOptions":
        """Without a limit nothing is drawn, so that the seed makes no difference."""
        return cls(
            config=settings.config,
            image_column=settings.image_column,
            label_column=settings.label_column,
            limit_per_class=settings.limit_per_class,
            seed=settings.seed if settings.limit_per_class else 0,
        )


class Table(Protocol):
    """A dataset's rows, downloaded or streamed; `features` is column → type."""

    @property
    def features(self) -> dict: ...

    def head(self, column: str) -> list:
        """The first few values."""

    def values(self, column: str) -> list:
        """As many values as are cheap to get."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The two columns that were chosen, and what was guessed for it."""

    image: str
    label: str
    problems: tuple[DataIssue, ...] = ()


def choose_columns(table: Table, files: DatasetFiles, options: LoadOptions) -> Columns:
    """Raises SourceError; NoLabelsError where only the labels are missing."""
    image, image_guess = _image_column(table, files, options.image_column)
    label, label_guess = _label_column(table, options.label_column, image)
    guesses = ((image, image_guess), (label, label_guess))
    problems = tuple(
        DataIssue(where=f"column {column!r}", why=why, skipped=0) for column, why in guesses if why
    )
    return Columns(image=image, label=label, problems=problems)


def _image_column(table: Table, files: DatasetFiles, wanted: str | None) -> tuple[str, str]:
    """(column, what was guessed). A column of type Image comes before one of bytes."""
    from datasets import Image

    typed = [c for c, feature in table.features.items() if isinstance(feature, Image)]
    found = typed + [c for c in table.features if c not in typed and _has_bytes(table, c)]
    if wanted is not None and wanted not in found:
        raise SourceError(
            f"expected a column of images called {wanted!r}, found {_described(table.features)}; "
            "pass --image-column"
        )
    candidates = found if wanted is None else [wanted]
    holding = [column for column in candidates if _shows_images(table, files, column)]
    if not holding:
        raise SourceError(_no_images(table, candidates))
    column, *others = holding
    if others:
        return column, f"taken as the image; also {listed(others)}: --image-column chooses"
    return column, "" if column in typed else "taken as the image: its bytes are pictures"


def _has_bytes(table: Table, column: str) -> bool:
    """Whether its type is bytes, or {"bytes": …}."""
    feature = table.features[column]
    inner = feature.get("bytes") if isinstance(feature, dict) else feature
    return getattr(inner, "dtype", None) in ("binary", "large_binary")


def _shows_images(table: Table, files: DatasetFiles, column: str) -> bool:
    """Whether one of the first cells can be opened; an Image column of nulls counts too."""
    cells = [cell for cell in table.head(column) if cell is not None]
    typed = not _has_bytes(table, column)
    return any(_is_image_cell(files, cell, typed) for cell in cells) if cells else typed


def _is_image_cell(files: DatasetFiles, cell, typed: bool) -> bool:
    if files.name(cell):
        return True
    try:
        data = files.read(cell)
        if not typed:
            load_image(data)
    except ImageError:
        return False
    return True


def _no_images(table: Table, found: list[str]) -> str:
    paths = [c for c in (*found, *table.features) if _holds_paths(table.head(c))]
    if paths:
        return (
            f"expected images, found only their paths or addresses in column {paths[0]!r}, whose "
            "files are not in the dataset; choose a dataset that holds the images themselves"
        )
    return (
        f"expected a column of images, found {_described(table.features)}; choose another dataset, "
        "or pass --image-column"
    )


def _holds_paths(cells: list) -> bool:
    """Whether they are paths or URLs of images, without the images."""
    paths = [c["path"] for c in cells if isinstance(c, dict) and c.get("path") and not c["bytes"]]
    texts = paths or [cell for cell in cells if isinstance(cell, str)]
    return bool(texts) and all(is_image(text.partition("?")[0]) for text in texts)


def _label_column(table: Table, wanted: str | None, image: str) -> tuple[str, str]:
    """(column, what was guessed): class names first, then a usual name, then few values."""
    from datasets import ClassLabel

    features = {c: feature for c, feature in table.features.items() if c != image}
    if wanted is not None:
        _check_label_column(features, wanted)
        return wanted, ""
    named = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    named.sort(key=lambda column: column not in LABEL_NAMES)
    if named:
        others = f"taken as the label; also {listed(named[1:])}: --label-column chooses"
        return named[0], others if named[1:] else ""
    plain = [c for c, feature in features.items() if getattr(feature, "dtype", None) in PLAIN]
    for column in (*(c for c in LABEL_NAMES if c in plain), *plain):
        values = table.values(column)
        distinct = len(set(values))
        few = 2 <= distinct <= min(MAX_CLASSES, len(values) // 2)
        if few or column in LABEL_NAMES:
            return column, f"taken as the label: no ClassLabel column, and {distinct} values here"
    raise NoLabelsError(_no_labels(features))


def _check_label_column(features: dict, wanted: str) -> None:
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


def _is_list(feature) -> bool:
    from datasets import LargeList, List

    return isinstance(feature, (List, LargeList, list, dict))


def _described(features: dict) -> str:
    return ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())


def _kind(feature) -> str:
    return feature.dtype if type(feature).__name__ == "Value" else type(feature).__name__
