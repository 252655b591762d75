"""What the Train tab does: start, watch and stop a visitor's training."""

import asyncio
from collections.abc import AsyncIterator
from html import escape

import gradio as gr

from transfer.errors import JobError, RunError
from transfer.formatting import duration
from transfer.jobs import Job, JobManager
from transfer.settings import TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.runs.report import report
from transfer.ui.shared.charts import charts
from transfer.ui.shared.components import no_updates
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.session import as_message, require_visitor
from transfer.ui.train.diagram import live_picture
from transfer.ui.train.form import WEIGHTS, filled
from transfer.ui.train.status import job_status

SECONDS_BETWEEN_LOOKS = 0.4
WATCHED = 8  # components, of which these
RESULT, SHOWN_RUN = 2, 7
LEFT_NOTHING = ("failed", "stopped", "interrupted", "expired")


class TrainHandlers:
    """Handlers over one registry of jobs; each checks its input, since anybody can post to it."""

    def __init__(self, jobs: JobManager, sources: DataHandlers):
        self.jobs = jobs
        self.sources = sources

    def start(self, visitor: str, source: str, method: str, effort: str, unfreeze: str, *advanced):
        """Queue a training for this visitor; what `watched` shows until it is watched."""
        with as_message():
            options = filled(method, effort, unfreeze, advanced)
            job = self.begin(require_visitor(visitor), source, options)
        return self._begun(job)

    def begin(self, owner: str, source: str, options: dict) -> Job:
        """Queue a training of what the owner may open. Raises TransferError."""
        if options.get("weights", "auto") not in WEIGHTS:
            raise JobError(f"body must be one of {', '.join(WEIGHTS)}; choose one of them")
        settings = TrainingSettings.from_options(**options)
        allowed = self.sources.allowed(owner, source)
        name = source.strip() if self.sources.own.source_of(owner, source.strip()) else ""
        return self.jobs.start(allowed, settings, owner=owner, name=name)

    def again(self, visitor: str):
        """The newest training once more, with the settings that it had."""
        with as_message():
            job = self.jobs.newest_of(require_visitor(visitor))
            if job is None:
                raise JobError("expected a training of yours, found none; start one")
            job = self.jobs.retry(job.id, visitor)
        return self._begun(job)

    def stop(self, visitor: str) -> None:
        """Stop this visitor's training, and nobody else's; `watch` shows what comes of it, for an
        answer of this might come after the end."""
        job = self.jobs.newest_of(require_visitor(visitor))
        if job is not None and job.live:
            with as_message():
                self.jobs.stop(job.id, visitor)

    def place(self, visitor: str) -> str:
        """The tab to open the page on, if any: a training that is under way is seen at once, for a
        connection that was cut ends in a reload."""
        job = self.jobs.newest_of(visitor)
        return "train" if job is not None and job.live else ""

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What the page shows of this visitor's newest training, whenever that changes; nothing
        where there is none, for a page may open while one is being started."""
        if self.jobs.newest_of(visitor) is None:
            yield no_updates(WATCHED)
            return
        seen = None
        while True:
            job = self.jobs.newest_of(visitor)
            live = job is not None and job.live  # before it is shown, so that its end is shown too
            now = (job.id, job.version, self._wait(job)) if job else None
            if now != seen:
                seen = now
                yield self._shown(job)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _wait(self, job: Job) -> tuple[int, str]:
        """How many come first, and for how long in words: what changes while it waits."""
        wait = self.jobs.expected_wait(job)
        return self.jobs.position(job), "" if wait is None else duration(wait)

    def _begun(self, job: Job) -> tuple:
        """`_shown`, where no result of an earlier training shows any more."""
        shown = list(self._shown(job))
        shown[RESULT] = shown[SHOWN_RUN] = ""
        return tuple(shown)

    def _shown(self, job: Job | None) -> tuple:
        """Values for the watched components: status, charts, result, start, stop, again, picture
        and the name of the run whose result that is; the result of another run, which somebody
        looks at meanwhile, stays."""
        if job is None:
            off, on = gr.Button(interactive=False), gr.Button(interactive=True)
            return job_status(None), "", "", on, off, gr.Button(visible=False), gr.skip(), ""
        result, shown_run = _result(job)
        return (
            job_status(
                job,
                self.jobs.position(job),
                self.jobs.expected_wait(job),
                self.jobs.seconds_left(job),
            ),
            charts(list(job.history), live=job.live),
            result,
            gr.Button(interactive=not job.live),
            gr.Button(interactive=job.live and not job.stopping),
            gr.Button(visible=job.state in LEFT_NOTHING),
            live_picture(job),
            shown_run,
        )


def _result(job: Job) -> tuple:
    """(the report, the run's name), or what is there already where this job has none."""
    if job.state != "done":
        return gr.skip(), gr.skip()
    try:
        return report(cached_run(job.out)), job.out.name
    except RunError as error:
        return f'<p class="warning">{escape(str(error))}</p>', ""
