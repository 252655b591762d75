"""The most confident mistakes as pictures, read again from the dataset where it still exists."""

from html import escape

from transfer.errors import TransferError
from transfer.formatting import isolated
from transfer.runs.run import Run
from transfer.ui.shared.images import thumbnails
from transfer.ui.shared.run_photos import photos

TITLE = "<h3>Most confident mistakes</h3>"
MISTAKES_SHOWN = 12
NO_IMAGES = "<p>The images are no longer available here, so only their names are listed.</p>"


def mistakes(run: Run, source: str | None) -> str:
    """With pictures from `source`, as `load_splits` takes it; otherwise a list of names."""
    found = run.report["mistakes"][:MISTAKES_SHOWN]
    if not found:
        return f'<div class="report">{TITLE}<p>No mistakes on the test images.</p></div>'
    try:
        shown = _pictures(run, source, found) if source else ""
    except TransferError:  # the dataset is gone
        shown = ""
    names = "".join(f"<li>{escape(_caption(mistake))}</li>" for mistake in found)
    return f'<div class="report">{TITLE}{shown or f"{NO_IMAGES}<ol>{names}</ol>"}</div>'


def _pictures(run: Run, source: str, found: list[dict]) -> str:
    """Empty where there are none. Raises TransferError."""
    pictures = [
        (picture, _caption(mistake))
        for mistake in found
        for picture, _ in photos(run, source, "test", [mistake["name"]])
    ]
    return thumbnails(pictures) if pictures else ""


def _caption(mistake: dict) -> str:
    predicted, label, name = (isolated(mistake[key]) for key in ("predicted", "label", "name"))
    return f"Said {predicted} ({mistake['score']:.0%}); actually {label}: {name}"
