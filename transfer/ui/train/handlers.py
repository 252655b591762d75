"""The Train tab's handlers: start, watch, stop and retry a visitor's training."""

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from transfer.errors import JobError, RunError
from transfer.formatting import duration
from transfer.jobs import Job, JobManager
from transfer.jobs.job import WITHOUT_RUN
from transfer.settings import TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.runs.report import report
from transfer.ui.shared.charts import charts
from transfer.ui.shared.components import no_updates, warning
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.session import as_message, require_visitor
from transfer.ui.train.diagram import live_diagram
from transfer.ui.train.form import WEIGHTS, read_form
from transfer.ui.train.status import job_status

SECONDS_BETWEEN_UPDATES = 0.4
# what `watch` updates, in this order; `shown run` is the name of the run whose report is shown
WATCHED = ("status", "charts", "report", "start", "stop", "retry", "diagram", "shown run")
REPORT, SHOWN_RUN = WATCHED.index("report"), WATCHED.index("shown run")


class TrainHandlers:
    """Each handler checks its input, since anyone can post to it."""

    def __init__(self, jobs: JobManager, datasets: DataHandlers):
        self.jobs = jobs
        self.datasets = datasets

    def start(self, visitor: str, source: str, **form):
        """Queue a training; `form` is value by name of field. Returns updates of WATCHED."""
        with as_message():
            settings = read_form(form)
            job = self.begin(require_visitor(visitor), source, settings)
        return self._started(job)

    def begin(self, owner: str, source: str, settings: TrainingSettings) -> Job:
        """Queue a training on a dataset that the owner may open. Raises TransferError."""
        if settings.weights not in WEIGHTS:
            raise JobError(f"body must be one of {', '.join(WEIGHTS)}; choose one of them")
        allowed = self.datasets.allowed(owner, source)
        name = source.strip() if self.datasets.uploads.path_of(owner, source.strip()) else ""
        return self.jobs.start(allowed, settings, owner=owner, name=name)

    def retry(self, visitor: str):
        """Queue the newest training again with the same settings; returns updates of WATCHED."""
        with as_message():
            job = self.jobs.newest_of(require_visitor(visitor))
            if job is None:
                raise JobError("expected a training of yours, found none; start one")
            job = self.jobs.retry(job.id, visitor)
        return self._started(job)

    def stop(self, visitor: str) -> None:
        """Stop the visitor's training. `watch` shows the result: an answer from here could arrive
        after the end of the training and overwrite it."""
        job = self.jobs.newest_of(require_visitor(visitor))
        if job is not None and job.live:
            with as_message():
                self.jobs.stop(job.id, visitor)

    def first_tab(self, visitor: str) -> str:
        """The tab to open the page on, if any: a training in progress is shown at once, because a
        lost connection ends in a reload."""
        job = self.jobs.newest_of(visitor)
        return "train" if job is not None and job.live else ""

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """Updates of WATCHED for the newest training, whenever it changes, until it ends.

        Without a training nothing is updated: one may be started while the page still opens.
        """
        if self.jobs.newest_of(visitor) is None:
            yield no_updates(len(WATCHED))
            return
        shown = None
        while True:
            job = self.jobs.newest_of(visitor)
            live = job is not None and job.live  # read first, so that the end is shown as well
            version = (job.id, job.version, self._waiting(job)) if job else None
            if version != shown:
                shown = version
                yield self._updates(job)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_UPDATES)

    def _waiting(self, job: Job) -> tuple[int, str]:
        """(trainings before it, time until it starts in words), which change while it is queued."""
        wait = self.jobs.expected_wait(job)
        return self.jobs.position(job), "" if wait is None else duration(wait)

    def _started(self, job: Job) -> tuple:
        """`_updates` without the report of an earlier training."""
        updates = list(self._updates(job))
        updates[REPORT] = updates[SHOWN_RUN] = ""
        return tuple(updates)

    def _updates(self, job: Job | None) -> tuple:
        """A report of another run that the visitor opened meanwhile stays."""
        if job is None:
            off, on = gr.Button(interactive=False), gr.Button(interactive=True)
            return job_status(None), "", "", on, off, gr.Button(visible=False), gr.skip(), ""
        position, wait = self.jobs.position(job), self.jobs.expected_wait(job)
        shown_report, shown_run = _report(job)
        return (
            job_status(job, position, wait, self.jobs.seconds_left(job)),
            charts(list(job.history), live=job.live),
            shown_report,
            gr.Button(interactive=not job.live),
            gr.Button(interactive=job.live and not job.stopping),
            gr.Button(visible=job.state in (*WITHOUT_RUN, "expired")),
            live_diagram(job),
            shown_run,
        )


def _report(job: Job) -> tuple:
    """(the report, the run's name); for a job without a run what is shown stays."""
    if job.state != "done":
        return gr.skip(), gr.skip()
    try:
        return report(cached_run(job.out)), job.out.name
    except RunError as error:
        return warning(error), ""
