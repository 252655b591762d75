"""The same picture in several places: what it spoils, told to a person."""

from collections.abc import Callable, Iterator

import numpy as np

from transfer.data.checks.scan import ScanResult
from transfer.data.checks.summary import Duplicates, Group, Member
from transfer.data.dataset import DataIssue

GROUPS_LISTED = 50
IMAGES_LISTED = 10
FLATTERED = {"test": "so the test would flatter", "validation": "so validation would flatter"}


def find_duplicates(seen: ScanResult) -> tuple[Duplicates, list[DataIssue]]:
    """All groups counted, the first fifty of each kind told."""
    groups, complete = seen.prints.groups()
    leaks = [rows for rows in groups if _is_leak(seen, rows)]
    two_labels = [rows for rows in groups if _has_two_labels(seen, rows)]
    problems = [
        *_told(seen, leaks, _leak, "are trained on and judged by"),
        *_told(seen, two_labels, _two_labels, "have two classes"),
        *_repeats(seen, groups),
    ]
    if not complete:
        why = "so many images look alike that not all were compared; there may be more"
        problems.append(DataIssue(where="duplicates", why=why))
    groups.sort(key=lambda rows: -2 * _is_leak(seen, rows) - _has_two_labels(seen, rows))
    found = Duplicates(
        groups=len(groups),
        exact=sum(_is_exact(seen, rows) for rows in groups),
        leaks=len(leaks),
        two_labels=len(two_labels),
        compared=seen.prints.compared(),
        complete=complete,
        listed=tuple(_group(seen, rows) for rows in groups[:GROUPS_LISTED]),
    )
    return found, problems


def _is_leak(seen: ScanResult, rows: np.ndarray) -> bool:
    """Trained on, and held out to judge by as well."""
    trains = seen.trains[rows]
    return bool(trains.any() and not trains.all())


def _has_two_labels(seen: ScanResult, rows: np.ndarray) -> bool:
    return bool((seen.labels[rows] != seen.labels[rows[0]]).any())


def _is_exact(seen: ScanResult, rows: np.ndarray) -> bool:
    return len({seen.prints.digests[row] for row in rows}) == 1


def _group(seen: ScanResult, rows: np.ndarray) -> Group:
    return Group(
        images=tuple(
            Member(name=seen.name(row), split=seen.split(row), label=seen.label(row))
            for row in _varied(seen, rows)
        ),
        total=len(rows),
        exact=_is_exact(seen, rows),
        leak=_is_leak(seen, rows),
        two_labels=_has_two_labels(seen, rows),
    )


def _varied(seen: ScanResult, rows: np.ndarray) -> np.ndarray:
    """The first ten, one of each split and class before a second one of any."""
    kinds = np.stack([seen.split_of[rows], seen.labels[rows]])
    _, firsts = np.unique(kinds, axis=1, return_index=True)
    order = [*sorted(firsts), *np.delete(np.arange(len(rows)), firsts)]
    return rows[order[:IMAGES_LISTED]]


def _told(
    seen: ScanResult,
    groups: list[np.ndarray],
    tell: Callable[[ScanResult, np.ndarray], DataIssue],
    what: str,
) -> Iterator[DataIssue]:
    yield from (tell(seen, rows) for rows in groups[:GROUPS_LISTED])
    if (more := len(groups) - GROUPS_LISTED) > 0:
        yield DataIssue(where="duplicates", why=f"{more} more pictures {what}, not named here")


def _leak(seen: ScanResult, rows: np.ndarray) -> DataIssue:
    """A held-out image of the test, where there is one, spoils most."""
    trains = seen.trains[rows]
    trained, held = rows[trains][0], rows[~trains]
    tested = [row for row in held if seen.split(row) == "test"]
    other = tested[0] if tested else held[0]
    return _pair(seen, trained, other, f", {FLATTERED[seen.split(other)]}")


def _two_labels(seen: ScanResult, rows: np.ndarray) -> DataIssue:
    other = rows[seen.labels[rows] != seen.labels[rows[0]]][0]
    here, there = seen.label(rows[0]), seen.label(other)
    return _pair(seen, rows[0], other, f", but called {here!r} here and {there!r} there")


def _pair(seen: ScanResult, row: int, other: int, consequence: str) -> DataIssue:
    why = f"{_likeness(seen, row, other)} picture as {seen.name(other)}{consequence}"
    return DataIssue(where=seen.name(row), why=why)


def _likeness(seen: ScanResult, row: int, other: int) -> str:
    exact = seen.prints.digests[row] == seen.prints.digests[other]
    return "the same" if exact else "nearly the same"


def _repeats(seen: ScanResult, groups: list[np.ndarray]) -> Iterator[DataIssue]:
    """Copies within one split: harmless, unless splits are still to be drawn from it."""
    for at, name in enumerate(seen.split_names):
        within = [rows[seen.split_of[rows] == at] for rows in groups]
        within = [rows for rows in within if len(rows) > 1]
        if not within:
            continue
        copies = sum(len(rows) - 1 for rows in within)
        row, other = within[0][:2]
        yield DataIssue(
            where=f"split {name!r}",
            why=f"{copies} cop{'y' if copies == 1 else 'ies'} of pictures that it holds already, "
            f"as {seen.name(other)} of {seen.name(row)}{_parted(seen)}",
        )


def _parted(seen: ScanResult) -> str:
    drawn = [name for name in ("validation", "test") if name not in seen.split_names]
    return f"; {' and '.join(drawn)} are drawn from train and may flatter" if drawn else ""
