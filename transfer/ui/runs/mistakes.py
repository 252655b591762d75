"""The most confident mistakes as pictures, read again from the dataset where it still exists."""

from functools import lru_cache
from html import escape

from transfer.data.image import load_image
from transfer.data.source import load_splits
from transfer.errors import TransferError
from transfer.formatting import isolated
from transfer.runs.run import Run, read_run
from transfer.ui.shared.images import thumbnails
from transfer.ui.shared.lazy_import import DIGITS_NEED, lazy_import

TITLE = "<h3>Most confident mistakes</h3>"
MISTAKES_SHOWN = 12
NO_IMAGES = "<p>The images are no longer available here, so only their names are listed.</p>"


def mistakes(run: Run, source: str | None) -> str:
    """With pictures from `source`, as `load_splits` takes it; otherwise a list of names."""
    found = run.report["mistakes"][:MISTAKES_SHOWN]
    if not found:
        return f'<div class="report">{TITLE}<p>No mistakes on the test images.</p></div>'
    try:
        shown = _pictures(str(run.path), source, run.record["revision"]) if source else ""
    except TransferError:  # the dataset is gone
        shown = ""
    names = "".join(f"<li>{escape(_caption(mistake))}</li>" for mistake in found)
    return f'<div class="report">{TITLE}{shown or f"{NO_IMAGES}<ol>{names}</ol>"}</div>'


@lru_cache(maxsize=16)
def _pictures(path: str, source: str, revision: str) -> str:
    """Cached, since a source may take long to open; empty where the source has changed.

    Raises TransferError.
    """
    run = read_run(path)
    lazy_import(DIGITS_NEED)
    images = load_splits(source, run.settings)
    if images.revision != revision:
        return ""
    test = images.splits["test"]
    rows = {name: row for row, name in enumerate(test.names)}
    pictures = [
        (load_image(test.read(rows[mistake["name"]]), greys=run.transform.greys), _caption(mistake))
        for mistake in run.report["mistakes"][:MISTAKES_SHOWN]
        if mistake["name"] in rows
    ]
    return thumbnails(pictures) if pictures else ""


def _caption(mistake: dict) -> str:
    predicted, label, name = (isolated(mistake[key]) for key in ("predicted", "label", "name"))
    return f"Said {predicted} ({mistake['score']:.0%}); actually {label}: {name}"
