"""The same picture in several places, and what that spoils."""

from collections.abc import Callable, Iterator

import numpy as np

from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Duplicates
from transfer.data.dataset import DataIssue

GROUPS_LISTED = 50
IMAGES_LISTED = 10


def find_duplicates(scan: ScanResult) -> tuple[Duplicates, list[DataIssue]]:
    """All groups are counted; the first fifty of each kind are named."""
    groups, complete = scan.prints.groups()
    leaks = [rows for rows in groups if _is_leak(scan, rows)]
    two_labels = [rows for rows in groups if _has_two_labels(scan, rows)]
    problems = [
        *_named(scan, leaks, _leak, "are used for training and held out"),
        *_named(scan, two_labels, _two_labels, "have two classes"),
        *_repeats(scan, groups),
    ]
    if not complete:
        why = "too many images look alike to compare all of them; there may be more duplicates"
        problems.append(DataIssue(where="duplicates", why=why))
    groups.sort(key=lambda rows: -2 * _is_leak(scan, rows) - _has_two_labels(scan, rows))
    found = Duplicates(
        groups=len(groups),
        exact=sum(_is_exact(scan, rows) for rows in groups),
        leaks=len(leaks),
        two_labels=len(two_labels),
        compared=scan.prints.compared(),
        complete=complete,
        listed=tuple(_group(scan, rows) for rows in groups[:GROUPS_LISTED]),
    )
    return found, problems


def _is_leak(scan: ScanResult, rows: np.ndarray) -> bool:
    """Used for training, and held out to evaluate with as well."""
    return bool(0 < scan.trains[rows].sum() < len(rows))


def _has_two_labels(scan: ScanResult, rows: np.ndarray) -> bool:
    return len(set(scan.labels[rows])) > 1


def _is_exact(scan: ScanResult, rows: np.ndarray) -> bool:
    return len({scan.prints.digests[row] for row in rows}) == 1


def _group(scan: ScanResult, rows: np.ndarray) -> dict:
    return {
        "images": [
            {"name": scan.name(row), "split": scan.split(row), "label": scan.label(row)}
            for row in rows[:IMAGES_LISTED]
        ],
        "total": len(rows),
        "exact": _is_exact(scan, rows),
        "leak": _is_leak(scan, rows),
        "two_labels": _has_two_labels(scan, rows),
    }


def _named(scan: ScanResult, groups: list, issue: Callable, what: str) -> Iterator[DataIssue]:
    yield from (issue(scan, rows) for rows in groups[:GROUPS_LISTED])
    if (more := len(groups) - GROUPS_LISTED) > 0:
        yield DataIssue(where="duplicates", why=f"{more} more pictures {what}, not named here")


def _leak(scan: ScanResult, rows: np.ndarray) -> DataIssue:
    """A copy in the test split matters most, so that it is named first."""
    trains = scan.trains[rows]
    held_out = sorted(rows[~trains], key=lambda row: scan.split(row) != "test")[0]
    consequence = f", so the {scan.split(held_out)} accuracy will be too high"
    return _pair(scan, rows[trains][0], held_out, consequence)


def _two_labels(scan: ScanResult, rows: np.ndarray) -> DataIssue:
    other = rows[scan.labels[rows] != scan.labels[rows[0]]][0]
    here, there = scan.label(rows[0]), scan.label(other)
    return _pair(scan, rows[0], other, f", but labelled {here!r} here and {there!r} there")


def _pair(scan: ScanResult, row: int, other: int, consequence: str) -> DataIssue:
    likeness = "the same" if _is_exact(scan, np.array([row, other])) else "nearly the same"
    why = f"{likeness} picture as {scan.name(other)}{consequence}"
    return DataIssue(where=scan.name(row), why=why)


def _repeats(scan: ScanResult, groups: list[np.ndarray]) -> Iterator[DataIssue]:
    """Copies within one split: harmless, unless other splits are drawn from it."""
    missing = [name for name in ("validation", "test") if name not in scan.split_names]
    drawn = f"; {' and '.join(missing)} are drawn from train: their accuracy may be too high"
    for at, name in enumerate(scan.split_names):
        within = [rows[scan.split_of[rows] == at] for rows in groups]
        within = [rows for rows in within if len(rows) > 1]
        if not within:
            continue
        copies = sum(len(rows) - 1 for rows in within)
        row, other = within[0][:2]
        yield DataIssue(
            where=f"split {name!r}",
            why=f"{copies} duplicate image{'s' * (copies > 1)}, for example {scan.name(other)} of "
            f"{scan.name(row)}{drawn if missing else ''}",
        )
