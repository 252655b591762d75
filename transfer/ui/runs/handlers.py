"""What one does with finished runs: look at them again, rename, delete, compare, download."""

import time
from contextlib import suppress
from html import escape

import gradio as gr

from transfer.errors import JobError
from transfer.formatting import duration
from transfer.jobs import JobManager, ListedRun
from transfer.runs.run import Run
from transfer.ui.runs.compare import FEWEST, MOST, comparison
from transfer.ui.runs.mistakes import mistakes
from transfer.ui.runs.report import report
from transfer.ui.shared.downloads import Downloads, zipped
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.session import as_message, require_visitor

NO_RUNS = "<p>No finished runs yet; the first one will stand here.</p>"
QUESTION = '<div role="status" aria-live="polite">{}</div>'
NOBODY = ""  # whose runs of the command line and of other programs are


class RunHandlers:
    """Handlers over a visitor's finished runs; each looks the run up among those of the visitor."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.downloads = Downloads()

    def listed(self, visitor: str, shown: str = "", compared: list[str] | None = None):
        """(the list, the run to choose, those to compare, what is done with them); `shown` is
        chosen where it is there, and of those `compared` stay which are."""
        runs = self.jobs.runs_of(visitor)
        names = [(f"{run.name}, {run.accuracy:.1%}, {_age(run)}", run.id) for run in runs]
        ids = [run.id for run in runs]
        chosen = shown if shown in ids else ids[0] if ids else None
        still = [each for each in compared or [] if each in ids]
        page = "".join(_line(run) for run in runs)
        return (
            f'<ul class="runs">{page}</ul>' if runs else NO_RUNS,
            gr.Dropdown(choices=names, value=chosen),
            gr.Dropdown(choices=names, value=still, multiselect=True),
            gr.Column(visible=bool(runs)),
        )

    def show(self, visitor: str, run_id: str | None):
        """(the report of a run, the name of the run that is shown)."""
        with as_message():
            run = self.jobs.run_of(require_visitor(visitor), run_id)
            return report(cached_run(run.path), f"Report of {run.name}"), run.id

    def mistakes(self, visitor: str, shown: str) -> str:
        """The pictures of the run that is shown which it is most sure of and wrong about."""
        if not shown:
            return ""
        with as_message():
            listed = self.jobs.run_of(require_visitor(visitor), shown)
            run = cached_run(listed.path)
            return mistakes(run, self._source_of(visitor, listed, run))

    def rename(self, visitor: str, run_id: str | None, name: str, compared: list[str]):
        """(the list …, an empty field) once a run is called something else."""
        with as_message():
            run = self.jobs.run_of(require_visitor(visitor), run_id)
            self.jobs.rename(run.id, visitor, name)
        return *self.listed(visitor, run.id, compared), ""

    def ask(self, visitor: str, run_id: str | None):
        """(the run, the question whether to delete it, the buttons that answer)."""
        with as_message():
            run = self.jobs.run_of(require_visitor(visitor), run_id)
        shown = gr.Button(visible=True)
        return run.id, QUESTION.format(f"<p>Delete {escape(run.name)} for good?</p>"), shown, shown

    def keep(self):
        """Nothing is asked any more."""
        hidden = gr.Button(visible=False)
        return "", QUESTION.format(""), hidden, hidden

    def delete(self, visitor: str, asked: str, compared: list[str]):
        """(the list …, nothing asked any more) once the run that was asked about is gone."""
        with as_message():
            run = self.jobs.run_of(require_visitor(visitor), asked)
            self.jobs.delete(run.id, visitor)
        return *self.listed(visitor, compared=compared), *self.keep()

    def compare(self, visitor: str, run_ids: list[str] | None) -> str:
        """Runs side by side."""
        with as_message():
            if not isinstance(run_ids, list) or not FEWEST <= len(run_ids) <= MOST:
                raise JobError(f"expected {FEWEST} to {MOST} runs to compare; choose some")
            runs = [self.jobs.run_of(require_visitor(visitor), run_id) for run_id in run_ids]
            return comparison([(f"{run.name}, {_age(run)}", cached_run(run.path)) for run in runs])

    def download(self, visitor: str, run_id: str | None) -> str:
        """The path of a zip of the run's folder, which is gone again after a while."""
        with as_message():
            run = self.jobs.run_of(require_visitor(visitor), run_id)
        folder = self.downloads.new_folder(visitor)
        return str(zipped(run.path, folder / f"{run.path.name}.zip"))

    def _source_of(self, visitor: str, listed: ListedRun, run: Run) -> str | None:
        """What to read a run's images from again; None where this visitor may not, or it is lost.

        Another visitor's own photos are seen by nobody else, even where runs are everybody's.
        """
        if run.record["source"] == "digits":
            return "digits"
        for owner in (visitor, NOBODY):
            with suppress(JobError):
                return self.jobs.get(listed.job_id, owner).source
        if self.jobs.limits.own_runs_only or listed.job_id:
            return None
        return run.record["source"].partition(" (")[0]


def _line(run: ListedRun) -> str:
    """One run: name and accuracy, then source, age, and how long it will stay."""
    told = [run.source, _age(run)]
    if run.seconds_left is not None:
        told.append(f"removed in {duration(max(run.seconds_left, 0))}")
    return (
        f"<li><b>{escape(run.name)}</b><b>{run.accuracy:.1%}</b>"
        f"<span>{escape(', '.join(told))}</span></li>"
    )


def _age(run: ListedRun) -> str:
    return f"{duration(max(time.time() - run.created, 0))} ago"
