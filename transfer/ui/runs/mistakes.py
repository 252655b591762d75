"""The most confident mistakes as pictures, read again from the source where it is still there."""

from functools import lru_cache

from transfer.data.image import load_image
from transfer.data.source import load_splits
from transfer.errors import TransferError
from transfer.runs.run import Run
from transfer.ui.runs.report import MISTAKES_SHOWN, mistake_names
from transfer.ui.shared.charts import thumbnails
from transfer.ui.shared.lazy_import import DIGITS_NEED, lazy_import

TITLE = "<h3>The most confident mistakes</h3>"


def mistakes(run: Run, source: str | None) -> str:
    """With pictures from `source`, as `load_splits` takes it; by name alone where there is none."""
    if not run.report["mistakes"]:
        return f'<div class="report">{TITLE}<p>No mistakes on the test images.</p></div>'
    shown = _pictures(run, source) if source else ""
    why = (
        ""
        if shown
        else "<p>Their pictures cannot be shown here any more, so these are their names.</p>"
    )
    return f'<div class="report">{TITLE}{why}{shown or mistake_names(run)}</div>'


def _pictures(run: Run, source: str) -> str:
    """Empty where the source cannot be opened, or is another by now."""
    try:
        return _read(str(run.path), source, run.record["revision"])
    except TransferError:
        return ""


@lru_cache(maxsize=16)
def _read(path: str, source: str, revision: str) -> str:
    """Kept in memory, since a source may have to be opened anew for it. Raises TransferError."""
    from transfer.runs.run import read_run

    run = read_run(path)
    lazy_import(DIGITS_NEED)
    images = load_splits(source, run.settings)
    if images.revision != revision:
        return ""
    test = images.splits["test"]
    rows = {name: row for row, name in enumerate(test.names)}
    pictures = []
    for mistake in run.report["mistakes"][:MISTAKES_SHOWN]:
        if mistake["name"] in rows:
            picture = load_image(test.read(rows[mistake["name"]]))
            pictures.append((picture, _caption(mistake)))
    return thumbnails(pictures) if pictures else ""


def _caption(mistake: dict) -> str:
    said = f"{mistake['predicted']} ({mistake['score']:.0%} sure)"
    return f"{said}, in truth {mistake['label']}: {mistake['name']}"
