"""The Train tab's handlers: start, watch, stop and retry a visitor's training."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple

import gradio as gr

from transfer.errors import JobError
from transfer.formatting import duration
from transfer.jobs import Job, JobManager
from transfer.settings import WEIGHTS, TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.shared.charts import charts
from transfer.ui.shared.session import QUIET, as_message, require_visitor
from transfer.ui.train.diagram import live_diagram
from transfer.ui.train.form import read_form
from transfer.ui.train.status import NO_JOB, job_status

SECONDS_BETWEEN_UPDATES = 0.4


class Training(NamedTuple):
    """What is shown of a training, component by component; `shown_run` names the run whose report
    is shown."""

    status: gr.HTML
    charts: gr.HTML
    start: gr.Button
    stop: gr.Button
    retry: gr.Button
    diagram: gr.HTML
    shown_run: gr.State


class TrainHandlers:
    """Each handler checks its input, since anyone can post to it."""

    def __init__(self, jobs: JobManager, datasets: DataHandlers):
        self.jobs = jobs
        self.datasets = datasets

    def start(self, visitor: str, source: str, **form):
        """Queue a training; `form` is value by name of field."""
        with as_message():
            others = self.datasets.uploads.others_of(require_visitor(visitor))
            job = self.begin(visitor, source, read_form(form), others)
        return *self._updates(job), ""

    def begin(
        self, owner: str, source: str, settings: TrainingSettings, others: str | None = None
    ) -> Job:
        """Queue a training on a dataset that the owner may open; `others` is the folder of the
        owner's photos of other things. Raises TransferError."""
        if settings.weights not in WEIGHTS:
            raise JobError(f"body must be one of {', '.join(WEIGHTS)}; choose one of them")
        allowed = self.datasets.allowed(owner, source)
        if settings.others and self.datasets.shared:
            raise JobError("others must be photos added on the page, found a place on this server")
        settings = replace(settings, others=others or settings.others)
        name = source.strip() if self.datasets.uploads.path_of(owner, source.strip()) else ""
        return self.jobs.start(allowed, settings, owner=owner, name=name)

    def retry(self, visitor: str):
        """Queue the newest training again with the same settings."""
        with as_message():
            job = self.jobs.newest_of(require_visitor(visitor))
            if job is None:
                raise JobError("expected a training of yours, found none; start one")
            job = self.jobs.retry(job.id, visitor)
        return *self._updates(job), ""

    def stop(self, visitor: str) -> None:
        """Stop the visitor's training. `watch` shows the result: an answer from here could arrive
        after the end of the training and overwrite it."""
        job = self.jobs.newest_of(require_visitor(visitor))
        if job is not None and job.live:
            with as_message():
                self.jobs.stop(job.id, visitor)

    def first_step(self, visitor: str, linked: str = "") -> str:
        """The step or tab to open the page on, if any: the one that a link names, else a training
        in progress, because a lost connection ends in a reload."""
        if linked:
            return linked
        job = self.jobs.newest_of(visitor)
        return "train" if job is not None and job.live else ""

    def watching(self, visitor: gr.BrowserState, shown: Training) -> dict:
        """What an event shows the newest training by."""
        watch = {"fn": self.watch, "inputs": visitor, "outputs": [*shown]}
        return watch | {"concurrency_limit": None} | QUIET

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What is shown for the newest training, whenever it changes, until it ends.

        Without a training nothing changes: one may be started while the page still opens.
        """
        shown = None
        while job := self.jobs.newest_of(visitor):
            live = job.live  # read first, so that the end is shown as well
            position, wait = self.jobs.position(job), self.jobs.expected_wait(job)
            version = job.id, job.version, position, "" if wait is None else duration(wait)
            if version != shown:
                shown = version
                yield *self._updates(job), job.out.name if job.state == "done" else gr.skip()
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_UPDATES)
        yield gr.skip()  # gradio shows an error where a generator yields nothing

    def newest(self, visitor: str) -> tuple:
        """What is shown for the newest training now, which may be another than before; the open
        report stays."""
        job = self.jobs.newest_of(visitor)
        if job is None:
            return (
                NO_JOB,
                "",
                gr.Button(),
                gr.Button(),
                gr.Button(visible=False),
                gr.skip(),
                gr.skip(),
            )
        return *self._updates(job), gr.skip()

    def _updates(self, job: Job) -> tuple:
        """All but the run whose report is shown."""
        position, wait = self.jobs.position(job), self.jobs.expected_wait(job)
        return (
            job_status(job, position, wait, self.jobs.seconds_left(job)),
            charts(list(job.history), live=job.live),
            gr.Button(interactive=not job.live),
            gr.Button(interactive=job.live and not job.stopping),
            gr.Button(visible=not job.live and job.state != "done"),
            live_diagram(job),
        )
