"""The same picture in several places, and what that spoils."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Duplicates
from transfer.data.dataset import DataIssue

GROUPS_LISTED = 50
IMAGES_LISTED = 10


@dataclass(frozen=True)
class Group:
    """Rows (M,) that show one picture, ascending."""

    scan: ScanResult
    rows: np.ndarray

    @property
    def exact(self) -> bool:
        return len({self.scan.prints.digests[row] for row in self.rows}) == 1

    @property
    def leak(self) -> bool:
        """Used for training, and held out to evaluate with as well."""
        return bool(0 < self.scan.trains[self.rows].sum() < len(self.rows))

    @property
    def two_labels(self) -> bool:
        return len(set(self.scan.labels[self.rows])) > 1

    def to_json(self) -> dict:
        scan = self.scan
        images = [
            {"name": scan.name(row), "split": scan.split(row), "label": scan.label(row)}
            for row in self.rows[:IMAGES_LISTED]
        ]
        kinds = {"exact": self.exact, "leak": self.leak, "two_labels": self.two_labels}
        return {"images": images, "total": len(self.rows)} | kinds


def find_duplicates(scan: ScanResult) -> tuple[Duplicates, list[DataIssue]]:
    """All groups are counted; the first fifty of each kind are named."""
    found, complete = scan.prints.groups()
    groups = [Group(scan, rows) for rows in found]
    leaks = [group for group in groups if group.leak]
    two_labels = [group for group in groups if group.two_labels]
    problems = [_leak(group) for group in leaks[:GROUPS_LISTED]]
    problems += _more(leaks, "are used for training and held out")
    problems += [_two_labels(group) for group in two_labels[:GROUPS_LISTED]]
    problems += _more(two_labels, "have two classes")
    problems += _repeats(scan, groups)
    if not complete:
        why = "too many images look alike to compare all of them; there may be more duplicates"
        problems.append(DataIssue("duplicates", why))
    groups.sort(key=lambda group: -2 * group.leak - group.two_labels)
    duplicates = Duplicates(
        groups=len(groups),
        exact=sum(group.exact for group in groups),
        leaks=len(leaks),
        two_labels=len(two_labels),
        compared=scan.prints.compared(),
        complete=complete,
        listed=tuple(group.to_json() for group in groups[:GROUPS_LISTED]),
    )
    return duplicates, problems


def _more(groups: list[Group], what: str) -> list[DataIssue]:
    more = len(groups) - GROUPS_LISTED
    why = f"{more} more pictures {what}, not named here"
    return [DataIssue("duplicates", why)] if more > 0 else []


def _leak(group: Group) -> DataIssue:
    """A copy in the test split matters most, so that it is named first."""
    trains, split = group.scan.trains[group.rows], group.scan.split
    held_out = sorted(group.rows[~trains], key=lambda row: split(row) != "test")[0]
    consequence = f", so the {split(held_out)} accuracy will be too high"
    return _pair(group.scan, group.rows[trains][0], held_out, consequence)


def _two_labels(group: Group) -> DataIssue:
    scan, row = group.scan, group.rows[0]
    other = group.rows[scan.labels[group.rows] != scan.labels[row]][0]
    labels = f", but labelled {scan.label(row)!r} here and {scan.label(other)!r} there"
    return _pair(scan, row, other, labels)


def _pair(scan: ScanResult, row: int, other: int, consequence: str) -> DataIssue:
    likeness = "the same" if Group(scan, np.array([row, other])).exact else "nearly the same"
    return DataIssue(scan.name(row), f"{likeness} picture as {scan.name(other)}{consequence}")


def _repeats(scan: ScanResult, groups: list[Group]) -> Iterator[DataIssue]:
    """Copies within one split: harmless, unless other splits are drawn from it."""
    missing = [name for name in ("validation", "test") if name not in scan.split_names]
    drawn = f"; {' and '.join(missing)} are drawn from train: their accuracy may be too high"
    for at, name in enumerate(scan.split_names):
        within = [group.rows[scan.split_of[group.rows] == at] for group in groups]
        if copies := sum(max(0, len(rows) - 1) for rows in within):
            row, other = next(rows for rows in within if len(rows) > 1)[:2]
            yield DataIssue(
                f"split {name!r}",
                f"{copies} duplicate image{'s' * (copies > 1)}, for example {scan.name(other)} of "
                f"{scan.name(row)}{drawn if missing else ''}",
            )
