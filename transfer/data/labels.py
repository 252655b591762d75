"""Which splits are used, and what their labels stand for."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from transfer.data.dataset import SPLITS, DataIssue, listed
from transfer.data.splits import named_like_splits, split_called
from transfer.errors import SourceError

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


def label_reader(feature) -> Callable:
    """What turns a stored label into one to compare: None for no label, 1 for 1.0."""
    from datasets import ClassLabel

    is_class = isinstance(feature, ClassLabel)

    def read(value):
        if value is None or value == "" or (is_class and value < 0):
            return None
        if isinstance(value, float):
            return None if math.isnan(value) else int(value) if value.is_integer() else value
        return value

    return read


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
    named = (lambda value: names[value]) if names else str
    labelled = {}
    for split, rows in values.items():
        train = values.get("train", []) if split != "train" else []
        if why := without_labels(rows, train, named):
            problems.append(DataIssue(f"split {split!r}", why, skipped=len(rows)))
        else:
            labelled[split] = rows
    if not labelled:
        raise _refused(column, "labels", f"none in {', '.join(values)}")
    present = {value for rows in labelled.values() for value in rows if value is not None}
    classes = _class_names(present, feature, column, problems)
    numbers = {value: number for number, value in enumerate(classes)}
    return tuple(classes.values()), {
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
    return {value: feature.names[value] for value in sorted(present)}


def _refused(column: str, expected: str, found: str) -> SourceError:
    return SourceError(
        f"expected {expected} in column {column!r}, found {found}; choose another with "
        "--label-column"
    )
