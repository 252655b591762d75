"""A job in words: what the Train tab says while it runs and when it has ended."""

from html import escape

from transfer import events
from transfer.jobs import Job
from transfer.progress import describe, duration
from transfer.ui.charts import network_picture

HEADLINES = {
    "queued": "Waiting in line",
    "loading": "Loading torch and timm, opening the images",
    "caching": "Reading the images once, through what stays frozen",
    "features": "Feature extraction: a linear classifier on the frozen body",
    "heads": "Trying heads on the features that are kept, each for a second or so",
    "warm-up": "Phase 1 of 2: warm-up. The body is frozen, the new head learns",
    "fine-tune": "Phase 2 of 2: fine-tune. Upper blocks learn too, gently",
    "evaluating": "Judging on test images that nothing was chosen by",
    "done": "Done",
    "stopped": "Stopped before anything was learned; nothing was kept",
    "failed": "This training failed",
}


def job_status(job: Job | None, position: int = 0) -> str:
    """Headline, progress, what learns, and one line about the newest event."""
    if job is None:
        return '<div class="status"><b>Nothing is training yet.</b></div>'
    headline = HEADLINES[job.state]
    if position:
        headline += f", {position - 1} before yours"
    if job.stopping and job.live:
        headline = "Stopping within one batch; what was learned is kept"
    parts = [f"<b>{escape(headline)}</b>", f"<p>{escape(_detail(job))}</p>"]
    if job.live:
        parts.append(_bar(job))
        parts.append(_expected(job))
    parts.append(_network(job))
    return (
        f'<div class="status {job.state}" role="status" aria-live="polite">{"".join(parts)}</div>'
    )


def _expected(job: Job) -> str:
    """How long each phase takes at most, as measured before it began."""
    seconds, kept = {}, ""
    for event in job.history:
        if isinstance(event, events.Estimated):
            seconds, kept = seconds | event.seconds, event.kept
    if not seconds:
        return ""
    parts = ", ".join(f"{name} {duration(s)}" for name, s in seconds.items())
    return f'<p class="expected">Expected: {escape(parts)}; {escape(kept)}.</p>'


def _detail(job: Job) -> str:
    if job.error:
        return job.error
    newest = job.passing or (job.history[-1] if job.history else None)
    if isinstance(newest, events.RunSaved):
        low, high = newest.result["accuracy_interval"]
        return (
            f"{newest.result['accuracy']:.1%} of the test images are right "
            f"({low:.1%} to {high:.1%} with 95 % confidence), "
            f"after {duration(newest.result['seconds'])}. Open Try it to use it."
        )
    return describe(newest) if newest else f"Source: {job.source}"


def _bar(job: Job) -> str:
    share = _share(job)
    if share is None:
        return '<div class="progress waiting"><i></i></div>'
    return f'<div class="progress"><i style="width:{100 * share:.1f}%"></i></div>'


def _share(job: Job) -> float | None:
    """How much of the present phase is done, 0…1; None where nobody knows."""
    newest = job.passing or (job.history[-1] if job.history else None)
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    match newest:
        case events.CacheProgress():
            return newest.done / max(newest.total, 1)
        case events.EpochDone():
            return newest.epoch / max(newest.epochs, 1)
        case events.BatchDone() if started and started[-1].epochs:
            return (newest.epoch - 1 + newest.done / newest.total) / started[-1].epochs
    return None


def _network(job: Job) -> str:
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    if not started:
        return ""
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    return network_picture(started[-1].learns, epochs[-1].drift if epochs else None)
