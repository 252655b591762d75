"""Which column holds the images and which the labels; every guess is reported."""

from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Protocol

from transfer.data.dataset import DataIssue, listed
from transfer.data.image import load_image
from transfer.data.labels import LABEL_NAMES, MAX_CLASSES
from transfer.data.remote.files import DatasetFiles
from transfer.errors import ImageError, SourceError
from transfer.settings import TrainingSettings

INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
PLAIN = ("string", "large_string", "bool", *INTEGERS)  # types that can be labels
ROWS_IN_HEAD = 20  # in which there must be an image


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
        options = cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})
        return options if options.limit_per_class else replace(options, seed=0)


class Table(Protocol):
    """A dataset's rows, downloaded or streamed; `features` is column → type."""

    features: dict

    def values(self, column: str, rows: int | None = None) -> list:
        """Of the first rows; by default of as many as are cheap to get."""


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
    problems = tuple(DataIssue(f"column {name!r}", why, 0) for name, why in guesses if why)
    return Columns(image=image, label=label, problems=problems)


def _image_column(table: Table, files: DatasetFiles, wanted: str | None) -> tuple[str, str]:
    """(column, what was guessed). A column of type Image comes before one of bytes."""
    from datasets import Image

    typed = [c for c, feature in table.features.items() if isinstance(feature, Image)]
    found = typed + [c for c in table.features if c not in typed and _has_bytes(table, c)]
    if wanted is not None and wanted not in found:
        raise _no_images(table, f" called {wanted!r}")
    candidates = found if wanted is None else [wanted]
    holding = [column for column in candidates if _shows_images(table, files, column)]
    if not holding:
        raise _no_images(table)
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
    cells = [cell for cell in table.values(column, ROWS_IN_HEAD) if cell is not None]
    typed = not _has_bytes(table, column)
    return any(_is_image_cell(files, cell, typed) for cell in cells) if cells else typed


def _is_image_cell(files: DatasetFiles, cell, typed: bool) -> bool:
    with suppress(ImageError):
        if not files.name(cell):
            data = files.read(cell)
            if not typed:
                load_image(data)
        return True
    return False


def _no_images(table: Table, called: str = "") -> SourceError:
    return SourceError(
        f"expected a column of images{called}, not only of paths or addresses, found "
        f"{_described(table.features)}; pass --image-column, or choose another dataset"
    )


def _label_column(table: Table, wanted: str | None, image: str) -> tuple[str, str]:
    """(column, what was guessed): class names first, then a usual name, then few values."""
    from datasets import ClassLabel

    features = {c: feature for c, feature in table.features.items() if c != image}
    if wanted is not None:
        if wanted not in features:
            kind = NoLabelsError if wanted == "label" else SourceError
            raise kind(_no_labels(features, f" called {wanted!r}"))
        if type(features[wanted]).__name__ not in ("ClassLabel", "Value"):
            raise SourceError(_no_labels({wanted: features[wanted]}))
        return wanted, ""
    named = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    named.sort(key=lambda column: column.lower() not in LABEL_NAMES)
    if named:
        others = f"taken as the label; also {listed(named[1:])}: --label-column chooses"
        return named[0], others if named[1:] else ""
    plain = [c for c, feature in features.items() if getattr(feature, "dtype", None) in PLAIN]
    usual = sorted(c for c in plain if c.lower() in LABEL_NAMES)
    usual.sort(key=lambda column: LABEL_NAMES.index(column.lower()))
    for column in (*usual, *plain):
        values = table.values(column)
        distinct = len(set(values))
        few = 2 <= distinct <= min(MAX_CLASSES, len(values) // 2)
        if few or column in usual:
            return column, f"taken as the label: no ClassLabel column, and {distinct} values here"
    raise NoLabelsError(_no_labels(features))


def _no_labels(features: dict, called: str = "") -> str:
    return (
        f"expected a column of labels{called}, one name or number an image, found "
        f"{_described(features) or 'none'}; pass --label-column"
    )


def _described(features: dict) -> str:
    kinds = {
        name: feature.dtype if type(feature).__name__ == "Value" else type(feature).__name__
        for name, feature in features.items()
    }
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
