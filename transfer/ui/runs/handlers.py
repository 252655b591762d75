"""Actions on finished runs: report, rename, delete, compare and download."""

import time
from contextlib import suppress
from html import escape

import gradio as gr

from transfer.errors import JobError, RunError
from transfer.formatting import duration
from transfer.jobs import JobManager, ListedRun
from transfer.publishing.card import run_readme
from transfer.ui.runs.compare import FEWEST, MOST, comparison
from transfer.ui.runs.corrected import run_before
from transfer.ui.runs.mistakes import mistakes
from transfer.ui.runs.report import report
from transfer.ui.shared.components import live_region
from transfer.ui.shared.downloads import Downloads, zip_folder
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.run_photos import source_of
from transfer.ui.shared.session import as_message, require_visitor

NO_RUNS = "<p>No finished runs yet. The first one will appear here.</p>"


class RunHandlers:
    """Each handler looks a run up among those of the visitor, since anybody can post any name."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.downloads = Downloads()

    def listed(self, visitor: str, shown: str = "", compared: list[str] | None = None):
        """(the list, the selected run, the runs to compare, the column of controls).

        `shown` gets selected if it exists; of `compared` those stay that still exist.
        """
        runs = self.jobs.finished.of(visitor)
        names = [(f"{run.name}, {run.accuracy:.1%}, {_age(run)}", run.id) for run in runs]
        ids = [run.id for run in runs]
        lines = "".join(_line(run) for run in runs)
        still = [run for run in compared or [] if run in ids]
        return (
            f'<ul class="runs">{lines}</ul>' if runs else NO_RUNS,
            gr.Dropdown(choices=names, value=shown if shown in ids else next(iter(ids), None)),
            gr.Dropdown(choices=names, value=still, multiselect=True),
            gr.Column(visible=bool(runs)),
        )

    @as_message()
    def show(self, visitor: str, run_id: str | None) -> tuple[str, str]:
        """(the report of a run, its id)."""
        listed = self._run(visitor, run_id)
        run = cached_run(listed.path)
        before = run_before(self.jobs, visitor, run)
        return report(run, f"Report of {listed.name}", before), listed.id

    @as_message()
    def mistakes(self, visitor: str, shown: str) -> str:
        """The most confident mistakes of the run whose report is shown."""
        if not shown:
            return ""
        listed = self._run(visitor, shown)
        run = cached_run(listed.path)
        return mistakes(run, source_of(self.jobs, visitor, listed, run))

    @as_message()
    def rename(self, visitor: str, run_id: str | None, name: str, compared: list[str]):
        """What `listed` returns, and an empty field for the next name."""
        run = self._run(visitor, run_id)
        self.jobs.finished.rename(run.id, visitor, name)
        return *self.listed(visitor, run.id, compared), ""

    @as_message()
    def ask(self, visitor: str, run_id: str | None):
        """(the run, the question whether to delete it, the two buttons that answer)."""
        run, shown = self._run(visitor, run_id), gr.Button(visible=True)
        question = live_region(f"<p>Delete {escape(run.name)} for good?</p>")
        return run.id, question, shown, shown

    def keep(self):
        """The same with the question withdrawn."""
        hidden = gr.Button(visible=False)
        return "", live_region(""), hidden, hidden

    @as_message()
    def delete(self, visitor: str, asked: str, compared: list[str]):
        """Delete the run that was asked about; what `listed` and `keep` return."""
        self.jobs.finished.delete(self._run(visitor, asked).id, visitor)
        return *self.listed(visitor, compared=compared), *self.keep()

    @as_message()
    def compare(self, visitor: str, run_ids: list[str] | None) -> str:
        """Runs side by side."""
        if not isinstance(run_ids, list) or not FEWEST <= len(run_ids) <= MOST:
            raise JobError(f"expected {FEWEST} to {MOST} runs to compare; choose some")
        runs = [self._run(visitor, run_id) for run_id in run_ids]
        return comparison([(f"{run.name}, {_age(run)}", cached_run(run.path)) for run in runs])

    @as_message()
    def download(self, visitor: str, run_id: str | None) -> str:
        """The path of a zip of the run's folder, explained; the zip is removed after a while."""
        run = self._run(visitor, run_id)
        folder, texts = self.downloads.new_folder(visitor), {}
        with suppress(RunError):  # a damaged report can be taken away, too
            texts["README"] = run_readme(cached_run(run.path), run.id)
        return str(zip_folder(run.path, folder / f"{run.id}.zip", **texts))

    def _run(self, visitor: str, run_id: str | None) -> ListedRun:
        """Raises JobError where it is no run of this visitor's."""
        return self.jobs.finished.get(run_id, require_visitor(visitor))


def _line(run: ListedRun) -> str:
    """One run of the list: name and accuracy, then source, age and when it will be removed."""
    notes = [run.source, _age(run)]
    if run.seconds_left is not None:
        notes.append(f"removed in {duration(max(run.seconds_left, 0))}")
    return (
        f"<li><b>{escape(run.name)}</b><b>{run.accuracy:.1%}</b>"
        f"<span>{escape(', '.join(notes))}</span></li>"
    )


def _age(run: ListedRun) -> str:
    return f"{duration(max(time.time() - run.created, 0))} ago"
