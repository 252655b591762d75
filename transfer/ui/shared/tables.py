"""Tables and bars as HTML, for reports, comparisons and predictions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from itertools import starmap

from transfer.formatting import accuracy_text, interval_text, isolated


def cells(columns: Mapping[str, tuple[str, str]], records: Iterable[dict]) -> list[list[str]]:
    """A row of escaped cells for each record; a column is title → (key, format)."""
    return [
        [escape(format(record[key], spec)) for key, spec in columns.values()] for record in records
    ]


def table(names: Iterable[str], rows: Sequence[Sequence[str]], bold: Collection[int] = ()) -> str:
    """Cells hold HTML, escaped by the caller; the rows with the indices in `bold` stand out."""
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(
        f"<tr{' class=chosen' if i in bold else ''}>"
        f'<th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for i, (first, *cells) in enumerate(rows)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def scrolling(html: str, label: str) -> str:
    """Something wide, in a region of its own that the keyboard can scroll."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{label}">{html}</div>'


def interval_bars(judged: Iterable[tuple[str, Mapping]]) -> str:
    """Of each name the `accuracy` on so many `images` with its 95 % `interval`."""
    return f'<ul class="steps">{"".join(starmap(_interval_bar, judged))}</ul>'


def _interval_bar(name: str, judged: Mapping) -> str:
    accuracy, (low, high), images = (judged[key] for key in ("accuracy", "interval", "images"))
    line = f'<u style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></u>'
    figures = f"<b>{accuracy_text(accuracy, images)}</b> {interval_text(low, high, images)}"
    return bar(name, accuracy, figures, line)


def bar(name: str, share: float, figures: str, line: str = "", *, best: bool = False) -> str:
    """One list item: its name, a bar for `share` (0 to 1) and what that is in figures (HTML)."""
    name, kind = escape(isolated(name)), ' class="best"' if best else ""
    return (
        f'<li{kind}><span class="name" title="{name}">{name}</span>'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i>{line}'
        f'</span><span class="n">{figures}</span></li>'
    )
