"""The same picture in several places, and what that spoils."""

from collections.abc import Iterator

import numpy as np

from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Duplicates
from transfer.data.dataset import DataIssue

GROUPS_NAMED = 50  # of each kind


def find_duplicates(scan: ScanResult) -> tuple[Duplicates, list[DataIssue]]:
    """All groups are counted; the first fifty of each kind are named."""
    groups, complete = scan.prints.groups()
    # used for training, and held out to evaluate with as well
    leaks = [rows for rows in groups if 0 < scan.trains[rows].sum() < len(rows)]
    two_labels = [rows for rows in groups if len(set(scan.labels[rows])) > 1]
    problems = [_leak(scan, rows) for rows in leaks[:GROUPS_NAMED]]
    problems += _more(leaks, "are used for training and held out")
    problems += [_two_labels(scan, rows) for rows in two_labels[:GROUPS_NAMED]]
    problems += _more(two_labels, "have two classes")
    problems += _repeats(scan, groups)
    if not complete:
        why = "too many images look alike to compare all of them; there may be more duplicates"
        problems.append(DataIssue("duplicates", why))
    duplicates = Duplicates(
        groups=len(groups),
        exact=sum(scan.prints.are_exact(rows) for rows in groups),
        leaks=len(leaks),
        two_labels=len(two_labels),
        compared=scan.prints.compared(),
        complete=complete,
    )
    return duplicates, problems


def _more(groups: list[np.ndarray], what: str) -> list[DataIssue]:
    more = len(groups) - GROUPS_NAMED
    why = f"{more} more pictures {what}, not named here"
    return [DataIssue("duplicates", why)] if more > 0 else []


def _leak(scan: ScanResult, rows: np.ndarray) -> DataIssue:
    """A copy in the test split matters most, so that it is named first."""
    trains = scan.trains[rows]
    held_out = min(rows[~trains], key=lambda row: scan.split(row) != "test")
    consequence = f", so the {scan.split(held_out)} accuracy will be too high"
    return _pair(scan, rows[trains][0], held_out, consequence)


def _two_labels(scan: ScanResult, rows: np.ndarray) -> DataIssue:
    row, other = rows[0], rows[scan.labels[rows] != scan.labels[rows[0]]][0]
    labels = f", but labelled {scan.label(row)!r} here and {scan.label(other)!r} there"
    return _pair(scan, row, other, labels)


def _pair(scan: ScanResult, row: int, other: int, consequence: str) -> DataIssue:
    likeness = "the same" if scan.prints.are_exact([row, other]) else "nearly the same"
    return DataIssue(scan.name(row), f"{likeness} picture as {scan.name(other)}{consequence}")


def _repeats(scan: ScanResult, groups: list[np.ndarray]) -> Iterator[DataIssue]:
    """Copies within one split: harmless, unless other splits are drawn from it."""
    missing = [name for name in ("validation", "test") if name not in scan.split_names]
    drawn = f"; {' and '.join(missing)} are drawn from train: their accuracy may be too high"
    for at, name in enumerate(scan.split_names):
        within = [rows[scan.split_of[rows] == at] for rows in groups]
        if copies := sum(max(0, len(rows) - 1) for rows in within):
            row, other = next(rows for rows in within if len(rows) > 1)[:2]
            yield DataIssue(
                f"split {name!r}",
                f"{copies} duplicate image{'s' * (copies > 1)}, for example {scan.name(other)} of "
                f"{scan.name(row)}{drawn if missing else ''}",
            )
