"""What corrected labels have changed: the run from before, on the same test images."""

from html import escape

from transfer.formatting import isolated
from transfer.jobs import ListedRun
from transfer.runs.run import Run
from transfer.ui.shared.tables import interval_bar

Earlier = tuple[ListedRun, Run]


def before_and_after(run: Run, before: Earlier | None) -> str:
    """The accuracy of both runs; empty without an earlier one."""
    if before is None:
        return ""
    listed, earlier = before
    bars = "".join(
        interval_bar(title, each.report)
        for title, each in (("Before", earlier), ("With corrections", run))
    )
    return (
        f"<h3>Before and after the corrections, on the same {run.report['images']} test images</h3>"
        f'<ul class="steps">{bars}</ul><p>{_counted(run)} “Before” is the run '
        f"{escape(isolated(listed.name))}.</p>"
    )


def _counted(run: Run) -> str:
    left_out = sum(one.leave_out for one in run.settings.corrections)
    relabelled = len(run.settings.corrections) - left_out
    labels = "1 label was" if relabelled == 1 else f"{relabelled:,} labels were"
    photos = "1 photo was" if left_out == 1 else f"{left_out:,} photos were"
    return f"{labels} changed, {photos} left out."
