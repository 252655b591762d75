"""The finished runs as rows with their actions; `rows.js` makes these events of the component."""

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from transfer.formatting import accuracy_text, isolated, time_text
from transfer.jobs import DeletedRun, ListedRun
from transfer.ui.shared.components import live_region

SCRIPT = Path(__file__).with_name("rows.js").read_text(encoding="utf-8")
NO_RUNS = "<p>No finished runs yet. The first one will appear here.</p>"
# the event of the component → what its button is called
ACTIONS = {
    "select": "Open",
    "play": "Try",
    "upload": "Publish",
    "download": "Download",
    "apply": "Teach more",
    "edit": "Rename",
    "delete": "Delete",
}
COMPARE = (
    '<p class="compare"><button type="button" data-do="submit">Compare</button> Tick two or more '
    "runs to see them side by side.</p>"
)


def run_rows(runs: list[ListedRun], deleted: DeletedRun | None = None) -> str:
    """Newest first; `deleted` can be brought back."""
    ends = [run.until for run in runs if run.until is not None]
    ends += [deleted.until] if deleted else []
    changes = f' data-changes="{min(ends):.0f}"' if ends else ""
    shown = f'<ul class="runs">{"".join(map(_row, runs))}</ul>{COMPARE}' if runs else NO_RUNS
    return f"<div{changes}><h2>Your runs</h2>{live_region(_undo(deleted))}{shown}</div>"


def _undo(deleted: DeletedRun | None) -> str:
    if not deleted:
        return ""
    undo = _button("undo", "Undo", deleted.run)
    return f'<p class="deleted">{escape(isolated(deleted.run.name))} deleted. {undo}</p>'


def _row(run: ListedRun) -> str:
    name, when = escape(isolated(run.name)), _time(run.created)
    facts = f"{escape(isolated(run.facts))}, {when}"
    notes = [facts] if run.title else []
    notes += [f"stopped in {run.stopped}"] if run.stopped else []
    notes += [f"removed {_time(run.until)}"] if run.until is not None else []
    buttons = "".join(
        _button(event, text, run)
        for event, text in ACTIONS.items()
        if event != "apply" or _has_photos_here(run)
    )
    return (
        f'<li><input type="checkbox" value="{escape(run.id)}" aria-label="Compare {name}">'
        f"<div><b>{name if run.title else facts}</b><span>{', '.join(notes)}</span></div>"
        f'<b class="n">{accuracy_text(run.accuracy, run.images)} right</b>'
        f'<div class="actions">{buttons}</div></li>'
    )


def _has_photos_here(run: ListedRun) -> bool:
    """Datasets of the Hub have a slash in their name; folders and uploads are shown without one."""
    return run.source != "digits" and "/" not in run.source


def _button(event: str, text: str, run: ListedRun) -> str:
    return (
        f'<button type="button" data-do="{event}" data-run="{escape(run.id)}" '
        f'aria-label="{text} {escape(run.name)}">{text}</button>'
    )


def _time(seconds: float) -> str:
    """The server's local time until the script puts that of the browser in its place."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return f'<time datetime="{moment}">{time_text(seconds)}</time>'
