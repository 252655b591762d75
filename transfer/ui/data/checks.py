"""The result of checking every image of a dataset, as HTML."""

from html import escape

from transfer.data.checks.summary import Findings, duplicates_line, problem_lines, sizes_line
from transfer.data.dataset import DataIssue
from transfer.events import CacheProgress
from transfer.ui.shared import components
from transfer.ui.shared.components import live_region


def progress(event: CacheProgress) -> str:
    counts = f"{event.done:,} of {event.total:,}"
    return components.progress("Checking all images", event.share, counts)


def findings(found: Findings) -> str:
    """Image sizes, duplicates, and the problems grouped by reason."""
    images = sum(found.splits.values())
    lines = [sizes_line(found.sizes)] if found.sizes else []
    lines.append(duplicates_line(found.duplicates, images))
    summary = "".join(f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in lines)
    problems = problem_list(found.problems)
    title = f"Checked {images:,} images" if problems else f"All {images:,} images can be read"
    return live_region(f"<h3>{title}</h3>{summary}{problems or '<p>No other problems found.</p>'}")


def problem_list(problems: tuple[DataIssue, ...]) -> str:
    """A row for each reason; empty without problems."""
    rows = "".join(f"<li>{escape(line)}</li>" for line in problem_lines(problems))
    return f'<ul class="warning">{rows}</ul>' if rows else ""
