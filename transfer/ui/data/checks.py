"""What was found when every image of a source was looked at, as HTML."""

from html import escape

from transfer.data.checks.inspect import Findings, by_reason, duplicates_line, sizes_line
from transfer.events import CacheProgress

PLACES_SHOWN = 5


def progress(event: CacheProgress) -> str:
    return (
        f"{_told('<p>Looking at all images</p>')}<p>{event.done:,} of {event.total:,}</p>"
        f'<div class="progress"><i style="width:{100 * event.done / max(event.total, 1):.1f}%"></i>'
        "</div>"
    )


def findings(found: Findings) -> str:
    """Sizes, the same picture twice, and everything that is wrong, by reason."""
    images = sum(found.splits.values())
    lines = [duplicates_line(found.duplicates, images)]
    if found.sizes:
        lines.insert(0, sizes_line(found.sizes))
    told = "".join(f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in lines)
    reasons = list(by_reason(found.problems).items())
    if not reasons:
        return _told(
            f"<h3>All {images:,} images can be read</h3>{told}<p>Nothing else to tell.</p>"
        )
    rows = "".join(f"<li>{_places(where)}: {escape(why)}</li>" for why, where in reasons)
    return _told(f'<h3>Looked at {images:,} images</h3>{told}<ul class="warning">{rows}</ul>')


def _told(text: str) -> str:
    """In a live region, without the numbers that change all the time."""
    return f'<div role="status" aria-live="polite">{text}</div>'


def _places(where: list[str]) -> str:
    more = f" and {len(where) - PLACES_SHOWN} more" if len(where) > PLACES_SHOWN else ""
    return escape(", ".join(where[:PLACES_SHOWN]) + more)
