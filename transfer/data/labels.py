"""Which splits are used, and what their labels stand for."""

import math
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

from transfer.data.dataset import SPLITS, DataIssue, listed
from transfer.data.splits import named_like_splits, split_called
from transfer.errors import SourceError
from transfer.formatting import encodable

LABEL_NAMES = ("label", "labels", "class", "class_name", "cls", "category", "target", "y")
NO_LABEL = ("", "nan", "<na>", "n/a", "#n/a")  # as text, in any case
# marks of direction, soft hyphens and spaces without width; joiners are part of words and emoji
INVISIBLE = dict.fromkeys(
    [0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]
)
MAX_CLASSES = 1000
ALIKE_BY_CHANCE = 10  # as many labels are all the same only where they mean "unknown"


def used_splits(names: Iterable[str], problems: list[DataIssue]) -> dict[str, str]:
    """The dataset's name of each split that is used → ours, train first; others are reported."""
    names = list(names)
    used: dict[str, str] = {}
    for name in names:
        split = split_called(name) or ("train" if len(names) == 1 else None)
        if split and split not in used.values():
            used[name] = split
        else:
            why = (
                f"there is another split for {split}" if split else "not train, validation or test"
            )
            problems.append(DataIssue(f"split {name!r}", f"not used: {why}", skipped=0))
    if not used:
        raise SourceError(
            f"expected a split for train, validation or test, found {', '.join(names) or 'none'}; "
            "choose another dataset"
        )
    return dict(sorted(used.items(), key=lambda item: SPLITS.index(item[1])))


def class_name(text: str) -> str:
    """The form in which class names are compared: those that look the same are the same.

    NFC, in which a letter and its accent are one character (macOS writes two), without invisible
    characters, with single spaces, and encodable.
    """
    visible = unicodedata.normalize("NFC", text.translate(INVISIBLE))
    return encodable(" ".join(visible.split()))


def plain_label(value: object) -> object:
    """A stored label as one to compare: None for no label, 1 for 1.0, a text as `class_name`."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    if isinstance(value, str):
        name = class_name(value)
        return None if name.casefold() in NO_LABEL else name
    return value


def label_reader(feature) -> Callable:
    """`plain_label`, and None for the negative number of a ClassLabel."""
    from datasets import ClassLabel

    if not isinstance(feature, ClassLabel):
        return plain_label
    return lambda value: None if value is None or value < 0 else plain_label(value)


def without_labels(values: list, train: list, named: Callable[[object], str]) -> str | None:
    """Why a split's labels cannot be used, or None: hidden labels are often all the same value."""
    known = {value for value in values if value is not None}
    if not known:
        return "not used: it has no labels"
    learned = {value for value in train if value is not None}
    if len(known) == 1 and len(learned) > 1:
        (only,) = known
        if only not in learned or sum(v is not None for v in values) >= ALIKE_BY_CHANCE:
            return f"not used: every label is {named(only)!r}, so its labels seem to be hidden"
    return None


def number_labels(
    values: dict[str, list], feature, column: str, problems: list[DataIssue]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """(class names, split → int64 (N,), -1 where there is no label) of what `label_reader` returns.

    Splits without labels and classes without images are left out and reported. Raises SourceError.
    """
    names = getattr(feature, "names", None)
    shown = (lambda value: names[value]) if names else str
    labelled = {}
    for split, rows in values.items():
        train = values.get("train", []) if split != "train" else []
        if why := without_labels(rows, train, shown):
            problems.append(DataIssue(f"split {split!r}", why, skipped=len(rows)))
        else:
            labelled[split] = rows
    if not labelled:
        raise _refused(column, "labels", f"none in {', '.join(values)}")
    present = {value for rows in labelled.values() for value in rows if value is not None}
    names = _class_names(present, feature, column, problems)
    classes = tuple(dict.fromkeys(names.values()))
    numbers = {value: classes.index(name) for value, name in names.items()}
    return classes, {
        split: np.array([numbers.get(value, -1) for value in rows], dtype=np.int64)
        for split, rows in labelled.items()
    }


def _class_names(present: set, feature, column: str, problems: list[DataIssue]) -> dict:
    """Label → class name, in label order, of the labels that occur."""
    from datasets import ClassLabel

    if any(isinstance(value, float) for value in present):
        raise _refused(column, "names or whole numbers as labels", "decimals")
    if len(present) > MAX_CLASSES:
        raise _refused(column, f"at most {MAX_CLASSES} classes", str(len(present)))
    if not isinstance(feature, ClassLabel):
        if alike := named_like_splits(map(str, present)):
            raise _refused(column, "names of classes", f"those of splits ({listed(alike)})")
        return {value: str(value) for value in sorted(present)}
    if unseen := [name for number, name in enumerate(feature.names) if number not in present]:
        why = f"no image of {listed(unseen)}: left out"
        problems.append(DataIssue(f"column {column!r}", why, skipped=0))
    names = {value: feature.names[value] for value in sorted(present)}
    return {value: class_name(name) or name for value, name in names.items()}


def _refused(column: str, expected: str, found: str) -> SourceError:
    return SourceError(
        f"expected {expected} in column {column!r}, found {found}; choose another with "
        "--label-column"
    )
