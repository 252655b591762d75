"""The most confident mistakes as pictures, read again from the dataset where it still exists."""

from contextlib import suppress
from html import escape

from transfer.errors import TransferError
from transfer.formatting import isolated
from transfer.jobs.run_photos import photos
from transfer.runs.run import Run
from transfer.ui.shared.images import thumbnails

TITLE = "<h3>Most confident mistakes</h3>"
MISTAKES_SHOWN = 12
NO_IMAGES = "<p>The images are no longer available here, so only their names are listed.</p>"


def mistakes(run: Run, source: str | None) -> str:
    """With pictures from `source`, as `load_splits` takes it; otherwise a list of names."""
    found = run.report["mistakes"][:MISTAKES_SHOWN]
    if not found:
        return f'<div class="report">{TITLE}<p>No mistakes on the test images.</p></div>'
    pictures = []
    if source:
        with suppress(TransferError):  # the dataset is gone
            for mistake in found:
                seen = photos(run, source, "test", [mistake["name"]])
                pictures += [(picture, _caption(mistake)) for picture, _ in seen]
    names = "".join(f"<li>{escape(_caption(mistake))}</li>" for mistake in found)
    shown = thumbnails(pictures) if pictures else f"{NO_IMAGES}<ol>{names}</ol>"
    return f'<div class="report">{TITLE}{shown}</div>'


def _caption(mistake: dict) -> str:
    predicted, label, name = (isolated(mistake[key]) for key in ("predicted", "label", "name"))
    return f"Said {predicted} ({mistake['score']:.0%}); actually {label}: {name}"
