"""What the Train tab does: start, watch and stop a visitor's training."""

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from transfer.errors import JobError
from transfer.jobs import Job, Jobs
from transfer.ui.charts import charts
from transfer.ui.report import report
from transfer.ui.runs import finished
from transfer.ui.sources import Sources
from transfer.ui.status import job_status
from transfer.ui.visitor import as_message, known

SECONDS_BETWEEN_LOOKS = 0.4
WEIGHTS = ("auto", "hub", "bundled", "random")
ADVANCED = (
    "weights",
    "image_size",
    "head_epochs",
    "finetune_epochs",
    "head_lr",
    "finetune_lr",
    "target_accuracy",
    "optimizer",
    "limit_per_class",
    "seed",
    "head",
)
WHOLE_NUMBERS = ("image_size", "head_epochs", "finetune_epochs", "limit_per_class", "seed")


class Trainings:
    """Handlers over one registry of jobs; each checks its input, since anybody can post to it."""

    def __init__(self, jobs: Jobs, sources: Sources):
        self.jobs = jobs
        self.sources = sources

    def start(self, visitor: str, source: str, method: str, unfreeze: str, *advanced):
        """Queue a training for this visitor; what `watched` shows until it is watched."""
        options = {"method": method, "unfreeze": unfreeze} | filled(advanced)
        with as_message():
            if options.get("weights", "auto") not in WEIGHTS:
                raise JobError(f"body must be one of {', '.join(WEIGHTS)}; choose one of them")
            allowed = self.sources.allowed(visitor, source)
            job = self.jobs.start(allowed, options, owner=known(visitor))
        return self._shown(job)

    def stop(self, visitor: str):
        """Stop this visitor's training, and nobody else's."""
        job = self.jobs.newest_of(known(visitor))
        if job is not None and job.live:
            self.jobs.stop(job.id)
        return self._shown(job)[0], gr.Button(interactive=False)

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What the page shows of this visitor's newest training, whenever that changes."""
        seen = None
        while True:
            job = self.jobs.newest_of(visitor)
            live = job is not None and job.live  # before it is shown, so that its end is shown too
            now = (job.id, job.version, self.jobs.position(job)) if job else None
            if job is None or now != seen:
                seen = now
                yield self._shown(job)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _shown(self, job: Job | None) -> tuple:
        """Values for the watched components: status, charts, result, start, stop."""
        live = job is not None and job.live
        done = job is not None and job.state == "done"
        return (
            job_status(job, self.jobs.position(job) if job else 0),
            charts(list(job.history)) if job else "",
            report(finished(job.out)) if done else "",
            gr.Button(interactive=not live),
            gr.Button(interactive=live and not job.stopping),
        )


def filled(advanced: tuple) -> dict:
    """Advanced settings that were filled in, whole numbers as such."""
    options = {k: v for k, v in zip(ADVANCED, advanced, strict=True) if v not in (None, "")}
    for name in WHOLE_NUMBERS:
        if isinstance(options.get(name), float) and options[name].is_integer():
            options[name] = int(options[name])
    return options
