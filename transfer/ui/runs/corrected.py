"""What corrected labels have changed: the run from before, on the same test images."""

from contextlib import suppress
from html import escape

from transfer.errors import RunError
from transfer.formatting import isolated
from transfer.jobs import JobManager
from transfer.runs.run import Run
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.tables import interval_bar

SAME = ("method", "weights", "image_size", "unfreeze", "effort", "seed")  # of the settings

Earlier = tuple[str, Run]  # a run with its name


def run_before(jobs: JobManager, visitor: str, run: Run) -> Earlier | None:
    """The visitor's run that lacks only corrections of `run`; None where there is none left.

    Of several, the one with most of the corrections, then the newest one.
    """
    if not run.settings.corrections:
        return None
    found = []
    for listed in jobs.finished.of(visitor):
        with suppress(RunError):
            earlier = cached_run(listed.path)
            if _comes_before(earlier, run):
                found.append((listed.name, earlier))
    return max(found, key=lambda pair: len(pair[1].settings.corrections), default=None)


def before_and_after(run: Run, before: Earlier | None) -> str:
    """The accuracy of both runs; empty without an earlier one."""
    if before is None:
        return ""
    name, earlier = before
    bars = "".join(
        interval_bar(title, each.report)
        for title, each in (("Before", earlier), ("With corrections", run))
    )
    return (
        f"<h3>Before and after the corrections, on the same {run.report['images']} test images</h3>"
        f'<ul class="steps">{bars}</ul><p>{_counted(run)} “Before” is the run '
        f"{escape(isolated(name))}.</p>"
    )


def _comes_before(earlier: Run, run: Run) -> bool:
    tested = earlier.record.get("tested_on")
    theirs, ours = ({one.where for one in each.settings.corrections} for each in (earlier, run))
    return (
        tested is not None
        and tested == run.record.get("tested_on")
        and all(getattr(earlier.settings, name) == getattr(run.settings, name) for name in SAME)
        and theirs < ours
    )


def _counted(run: Run) -> str:
    left_out = sum(one.leave_out for one in run.settings.corrections)
    relabelled = len(run.settings.corrections) - left_out
    labels = "1 label was" if relabelled == 1 else f"{relabelled:,} labels were"
    photos = "1 photo was" if left_out == 1 else f"{left_out:,} photos were"
    return f"{labels} changed, {photos} left out."
