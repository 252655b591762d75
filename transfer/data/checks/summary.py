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
    only exact copies are found. Not `complete`: too many look alike to compare all pairs."""

    groups: int
    exact: int
    leaks: int
    two_labels: int
    compared: int
    complete: bool


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
    def splits(self) -> dict[str, int]:
        """Images a split."""
        names = next(iter(self.counts.values()))
        return {name: sum(row[name] for row in self.counts.values()) for name in names}

    def to_json(self) -> dict:
        classes = {name: sum(row.values()) for name, row in self.counts.items()}
        problems = [problem.to_json() for problem in self.problems]
        return {"splits": self.splits, "classes": classes} | asdict(self) | {"problems": problems}


def report_lines(findings: Findings) -> Iterator[str]:
    """Lines for a terminal; long lists are cut."""
    yield printable(f"{findings.source} (revision {findings.revision})")
    yield from _table(findings)
    if findings.sizes:
        yield sizes_line(findings.sizes)
    yield duplicates_line(findings.duplicates, sum(findings.splits.values()))
    problems = problem_lines(findings.problems)
    yield from (printable(f"problem: {line}") for line in problems[:PROBLEMS_SHOWN])
    if len(problems) > PROBLEMS_SHOWN:
        yield f"… and {len(problems) - PROBLEMS_SHOWN} more kinds of problems; --json lists all"


def _table(findings: Findings) -> Iterator[str]:
    rows = [(printable(name), *row.values()) for name, row in findings.counts.items()]
    all_rows = ("all", *findings.splits.values())
    lines = [("class", *findings.splits), *rows[:CLASSES_SHOWN], all_rows]
    first, *widths = (max(len(str(cell)) for cell in column) for column in zip(*lines, strict=True))
    for row in lines:
        if row is all_rows and len(rows) > CLASSES_SHOWN:
            yield f"… and {len(rows) - CLASSES_SHOWN} more classes"
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True)]
        yield "  ".join([f"{row[0]:<{first}}", *cells])


def sizes_line(sizes: Sizes) -> str:
    line = f"{sizes.smallest} to {sizes.largest} px, median of the shorter ones {sizes.median} px"
    if sizes.smallest == sizes.largest:
        line = f"all {sizes.smallest} px"
    odd = ((sizes.tiny, "tiny"), (sizes.long, "very long"))
    return f"sides: {line}" + "".join(f", {number} {what}" for number, what in odd if number)


def duplicates_line(found: Duplicates, images: int) -> str:
    left = images - found.compared
    rest = f"; not compared, as flat, tiny or unreadable: {left}" if left else ""
    if not found.groups:
        return f"duplicates: none{rest}"
    return (
        f"duplicates: {found.groups} groups, {found.exact} of them exact copies, {found.leaks} in "
        f"training and held out, {found.two_labels} with two classes{rest}"
    )


def problem_lines(problems: tuple[DataIssue, ...]) -> list[str]:
    """One line a reason, with the first places."""
    places: dict[str, list[str]] = {}
    for problem in problems:
        places.setdefault(problem.why, []).append(problem.where)
    lines = []
    for why, where in places.items():
        more = f" and {len(where) - PLACES_SHOWN} more" if len(where) > PLACES_SHOWN else ""
        lines.append(f"{', '.join(where[:PLACES_SHOWN])}{more}: {why}")
    return lines
