"""What the checks found, as a record and as lines for a terminal."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from transfer.data.dataset import DataIssue
from transfer.formatting import printable

CLASSES_SHOWN = 40
PROBLEMS_SHOWN = 40
PLACES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Pixels a side: the smallest, the median of the shorter sides, the largest; how many images
    are `tiny` (under 32 px) and how many `long` (at least four times as long as wide)."""

    smallest: int
    median: int
    largest: int
    tiny: int
    long: int


@dataclass(frozen=True, kw_only=True)
class Balance:
    """(class, training images) of the largest and the smallest class; where they are `uneven`,
    training uses class weights."""

    largest: tuple[str, int]
    smallest: tuple[str, int]
    uneven: bool


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """How many groups of images show the same picture: exact copies, copies in training and held
    out (`leaks`), with two classes. `compared` images were compared; of the others, flat or tiny,
    only exact copies are found. Not `complete`: too many look alike to compare all pairs.

    `listed` (JSON): the first fifty groups, the worst first, and of each the first ten images.
    """

    groups: int
    exact: int
    leaks: int
    two_labels: int
    compared: int
    complete: bool
    listed: tuple[dict, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """`counts` is class → split → images, unreadable ones included; `sizes` is None where no image
    can be read."""

    source: str
    revision: str
    image_column: str | None
    label_column: str | None
    counts: dict[str, dict[str, int]]
    sizes: Sizes | None
    balance: Balance
    duplicates: Duplicates
    problems: tuple[DataIssue, ...]

    @property
    def classes(self) -> dict[str, int]:
        """Images a class."""
        return {name: sum(row.values()) for name, row in self.counts.items()}

    @property
    def splits(self) -> dict[str, int]:
        """Images a split."""
        names = next(iter(self.counts.values()))
        return {name: sum(row[name] for row in self.counts.values()) for name in names}

    def to_json(self) -> dict:
        problems = [problem.to_json() for problem in self.problems]
        known = asdict(self) | {"problems": problems}
        return {"splits": self.splits, "classes": self.classes} | known


def report_lines(findings: Findings) -> Iterator[str]:
    """Lines for a terminal; long lists are cut."""
    yield printable(f"{findings.source} (revision {findings.revision})")
    yield from _table(findings)
    if findings.sizes:
        yield sizes_line(findings.sizes)
    yield duplicates_line(findings.duplicates, sum(findings.splits.values()))
    yield from _problem_lines(findings.problems)


def _table(findings: Findings) -> Iterator[str]:
    """A row a class, a column a split."""
    splits = list(findings.splits)
    rows = [(printable(name), *row.values()) for name, row in findings.counts.items()]
    shown = [*rows[:CLASSES_SHOWN], ("all", *findings.splits.values())]
    more = len(rows) - CLASSES_SHOWN
    lines = [("class", *splits), *shown]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*lines, strict=True)]
    for at, row in enumerate(lines):
        if more > 0 and at == len(shown):
            yield f"… and {more} more classes"
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *cells])


def sizes_line(sizes: Sizes) -> str:
    if sizes.smallest == sizes.largest:
        line = f"sides: all {sizes.smallest} px"
    else:
        line = (
            f"sides: {sizes.smallest} to {sizes.largest} px, median of the shorter ones "
            f"{sizes.median} px"
        )
    odd = ((sizes.tiny, "tiny"), (sizes.long, "very long"))
    return line + "".join(f", {number} {what}" for number, what in odd if number)


def duplicates_line(found: Duplicates, images: int) -> str:
    left = images - found.compared
    rest = f"; not compared, as flat, tiny or unreadable: {left}" if left else ""
    if not found.groups:
        return f"duplicates: none{rest}"
    return (
        f"duplicates: {found.groups} groups, {found.exact} of them exact copies, {found.leaks} in "
        f"training and held out, {found.two_labels} with two classes{rest}"
    )


def by_reason(problems: tuple[DataIssue, ...]) -> dict[str, str]:
    """Reason → the first places where it applies."""
    places: dict[str, list[str]] = {}
    for problem in problems:
        places.setdefault(problem.why, []).append(problem.where)
    return {why: _first(where) for why, where in places.items()}


def _first(where: list[str]) -> str:
    more = f" and {len(where) - PLACES_SHOWN} more" if len(where) > PLACES_SHOWN else ""
    return ", ".join(where[:PLACES_SHOWN]) + more


def _problem_lines(problems: tuple[DataIssue, ...]) -> Iterator[str]:
    """One line a reason."""
    places = by_reason(problems)
    for why, where in list(places.items())[:PROBLEMS_SHOWN]:
        yield printable(f"problem: {where}: {why}")
    if len(places) > PROBLEMS_SHOWN:
        yield f"… and {len(places) - PROBLEMS_SHOWN} more kinds of problems; --json lists all"
