"""Actions on finished runs: report, rename, delete, compare and download."""

from contextlib import suppress

import gradio as gr

from transfer.errors import JobError, RunError
from transfer.jobs import JobManager, ListedRun
from transfer.publishing.card import run_readme
from transfer.ui.runs.compare import FEWEST, MOST, comparison
from transfer.ui.runs.mistakes import mistakes
from transfer.ui.runs.report import report
from transfer.ui.runs.rows import run_rows
from transfer.ui.shared.components import warning
from transfer.ui.shared.downloads import Downloads, zip_folder
from transfer.ui.shared.guard import posted
from transfer.ui.shared.loaded_runs import cached_run, run_with_source
from transfer.ui.shared.session import as_message, require_visitor


class RunHandlers:
    """Each handler looks a run up among those of the visitor, since anybody can post any name."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.downloads = Downloads()

    def update(self, visitor: str, shown: str, compared: list[str]) -> tuple:
        """(the rows, the report, the run it is of, the comparison, its runs), as things are now.

        What is gone from the runs is gone from the report and from the comparison.
        """
        runs = {run.id: run for run in self.jobs.finished.of(visitor)}
        still = [runs[run_id] for run_id in compared if run_id in runs]
        still = still if len(still) >= FEWEST else []
        return (
            run_rows([*runs.values()], self.jobs.finished.deleted(visitor)),
            self._report(visitor, runs[shown]) if shown in runs else "",
            shown if shown in runs else "",
            _comparison(still),
            [run.id for run in still],
        )

    @as_message()
    def show(self, visitor: str, clicked: gr.EventData) -> tuple[str, str]:
        """(the report of a run, its id)."""
        listed = self._clicked(visitor, clicked)
        return self._report(visitor, listed), listed.id

    @as_message()
    def mistakes(self, visitor: str, shown: str) -> str:
        """The most confident mistakes of the run whose report is shown."""
        if not shown:
            return ""
        _, run, source = run_with_source(self.jobs, require_visitor(visitor), shown)
        return mistakes(run, source)

    @as_message()
    def rename(self, visitor: str, clicked: gr.EventData) -> None:
        run = self._clicked(visitor, clicked)
        self.jobs.finished.rename(run.id, visitor, posted(clicked, "name"))

    @as_message()
    def delete(self, visitor: str, clicked: gr.EventData) -> None:
        self.jobs.finished.delete(self._clicked(visitor, clicked).id, visitor)

    @as_message()
    def undo(self, visitor: str, clicked: gr.EventData) -> None:
        """Bring back the run that was deleted."""
        self.jobs.finished.undo(posted(clicked, "run"), require_visitor(visitor))

    @as_message()
    def compare(self, visitor: str, clicked: gr.EventData) -> tuple[str, list[str]]:
        """(runs side by side, their ids)."""
        run_ids = posted(clicked, "runs")
        if not isinstance(run_ids, list) or not FEWEST <= len(run_ids) <= MOST:
            raise JobError(f"expected {FEWEST} to {MOST} runs to compare; choose some")
        runs = [self._run(visitor, run_id) for run_id in run_ids]
        return _comparison(runs), [run.id for run in runs]

    @as_message()
    def download(self, visitor: str, clicked: gr.EventData) -> str:
        """The path of a zip of the run's folder, explained; the zip is removed after a while."""
        run = self._clicked(visitor, clicked)
        folder, texts = self.downloads.new_folder(visitor), {}
        with suppress(RunError):  # a damaged report can be taken away, too
            texts["README"] = run_readme(cached_run(run.path), run.id)
        return str(zip_folder(run.path, folder / f"{run.id}.zip", **texts))

    @as_message()
    def choose(self, visitor: str, clicked: gr.EventData) -> gr.Dropdown:
        """For a field Run elsewhere on the page."""
        return gr.Dropdown(value=self._clicked(visitor, clicked).id)

    def _report(self, visitor: str, listed: ListedRun) -> str:
        try:
            run = cached_run(listed.path)
        except RunError as error:
            return warning(error)
        return report(run, listed.name, self.jobs.finished.before(run, visitor))

    def _clicked(self, visitor: str, clicked: gr.EventData) -> ListedRun:
        return self._run(visitor, posted(clicked, "run"))

    def _run(self, visitor: str, run_id: str | None) -> ListedRun:
        """Raises JobError where it is no run of this visitor's."""
        return self.jobs.finished.get(run_id, require_visitor(visitor))


def _comparison(runs: list[ListedRun]) -> str:
    return comparison([(run.name, cached_run(run.path)) for run in runs]) if runs else ""
