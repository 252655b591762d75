"""The result of checking every image of a dataset, as HTML."""

from html import escape

from transfer.data.checks.summary import Findings, by_reason, duplicates_line, sizes_line
from transfer.events import CacheProgress
from transfer.ui.shared.components import live_region, progress_bar

PLACES_SHOWN = 5


def progress(event: CacheProgress) -> str:
    return (
        f"{live_region('<p>Checking all images</p>')}<p>{event.done:,} of {event.total:,}</p>"
        f"{progress_bar(event.done / max(event.total, 1))}"
    )


def findings(found: Findings) -> str:
    """Image sizes, duplicates, and the problems grouped by reason."""
    images = sum(found.splits.values())
    lines = [duplicates_line(found.duplicates, images)]
    if found.sizes:
        lines.insert(0, sizes_line(found.sizes))
    summary = "".join(f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in lines)
    problems = "".join(
        f"<li>{_places(where)}: {escape(why)}</li>"
        for why, where in by_reason(found.problems).items()
    )
    if not problems:
        return live_region(
            f"<h3>All {images:,} images can be read</h3>{summary}<p>No other problems found.</p>"
        )
    return live_region(
        f'<h3>Checked {images:,} images</h3>{summary}<ul class="warning">{problems}</ul>'
    )


def _places(where: list[str]) -> str:
    more = f" and {len(where) - PLACES_SHOWN} more" if len(where) > PLACES_SHOWN else ""
    return escape(", ".join(where[:PLACES_SHOWN]) + more)
