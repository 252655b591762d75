"""A job in words: what the Train tab says while it runs and when it has ended."""

from html import escape

from transfer import events
from transfer.formatting import describe, duration
from transfer.jobs import Job

HEADLINES = {
    "queued": "Waiting in line",
    "loading": "Loading torch and timm, opening the images and the body",
    "caching": "Reading the images once, through what stays frozen",
    "features": "Feature extraction: a linear classifier on the frozen body",
    "heads": "Trying heads on the features that are kept, each for a second or so",
    "warm-up": "Phase 1 of 2: warm-up. The body is frozen, the new head learns",
    "fine-tune": "Phase 2 of 2: fine-tune. Upper blocks learn too, gently",
    "evaluating": "Judging on test images that nothing was chosen by",
    "done": "Done",
    "stopped": "Stopped before anything was learned; nothing was kept",
    "failed": "This training failed",
    "interrupted": "Interrupted: the app ended while this was training",
    "expired": "This training's run has been removed",
}
# what to do about an end that left no run
ADVICE = {
    "stopped": "Start again does the same once more; or change the settings first.",
    "failed": "Mend what it says, in Data or in the settings, and start; or Start again as it was.",
    "interrupted": "Start again goes on with the features that were kept.",
    "expired": "Start again trains it once more.",
}
STOPPING = "Stopping within one batch; what was learned is kept"
STOPPING_EARLY = "Stopping; nothing has been learned yet"
GOES_ON = "What it had learned is kept: Start again goes on after {phase} epoch {epoch}."
NO_JOB = (
    '<div class="status"><b>Nothing is training yet.</b>'
    "<p>What the network learns will show here as it happens.</p></div>"
)


def job_status(
    job: Job | None, position: int = 0, wait: float | None = None, left: float | None = None
) -> str:
    """Headline, progress, and one line about the newest event.

    `wait` is the seconds until a queued one starts, `left` those of one that runs, None where
    nobody knows.
    """
    if job is None:
        return NO_JOB
    headline, detail = (
        f"<b>{escape(_headline(job, position))}</b>",
        f"<p>{escape(_detail(job))}</p>",
    )
    notes = "".join(f"<p>{escape(line)}</p>" for line in (job.note, _advice(job)) if line)
    told, seen = headline + detail + notes, ""
    if job.live:  # numbers that change all the time are not read out
        times = f'<p class="expected">{escape(_times(job, position, wait, left))}</p>'
        told, seen = headline, detail + _bar(job) + times + notes
    return (
        f'<div class="status {job.state}"><div role="status" aria-live="polite">{told}</div>'
        f"{seen}</div>"
    )


def _advice(job: Job) -> str:
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    if epochs and not job.live and job.can_resume:
        return GOES_ON.format(phase=epochs[-1].phase, epoch=epochs[-1].epoch)
    return ADVICE.get(job.state, "")


def _headline(job: Job, position: int) -> str:
    if job.state == "stopped" and job.can_resume:
        return "Stopped while it waited to go on"
    if job.stopping and job.live:
        return STOPPING if job.learning else STOPPING_EARLY
    if position:
        return f"{HEADLINES[job.state]}, {position} before yours"
    if job.state == "warm-up" and job.settings.unfreeze == "none":
        return "Warm-up: the body is frozen, the new head learns"
    return HEADLINES[job.state]


def _times(job: Job, position: int, wait: float | None, left: float | None) -> str:
    """How long it will take: before it starts, and while it goes."""
    if position:
        return "How long that will take is not known." if wait is None else _soon(wait)
    told = [] if left is None else [f"About {duration(left)} left in all"]
    if expected := _expected(job):
        told.append(expected)
    return ". ".join(told) + "." if told else "How long it takes is measured once it has opened."


def _soon(wait: float) -> str:
    return f"It starts in about {duration(wait)}." if wait >= 1 else "It starts in a moment."


def _expected(job: Job) -> str:
    """How long each phase takes at most, as measured before it began."""
    seconds, kept = {}, ""
    for event in job.history:
        if isinstance(event, events.Estimated):
            seconds, kept = seconds | event.seconds, event.cached
    if not seconds:
        return ""
    parts = ", ".join(f"{name} {duration(s)}" for name, s in seconds.items())
    return f"Expected at most: {parts}; {kept}"


def _detail(job: Job) -> str:
    if job.error:
        return job.error
    newest = _newest(job)
    if isinstance(newest, events.RunSaved):
        low, high = newest.result["accuracy_interval"]
        return (
            f"{newest.result['accuracy']:.1%} of the test images are right "
            f"({low:.1%} to {high:.1%} with 95 % confidence), "
            f"after {duration(newest.result['seconds'])}. Open Try it to use it."
        )
    return describe(newest) if newest else f"Source: {job.name}"


def _newest(job: Job) -> events.Event | None:
    return job.progress or (job.history[-1] if job.history else None)


def _bar(job: Job) -> str:
    share = _share(job)
    if share is None:
        return '<div class="progress waiting"><i></i></div>'
    return f'<div class="progress"><i style="width:{100 * share:.1f}%"></i></div>'


def _share(job: Job) -> float | None:
    """How much of the present phase is done, 0…1; None where nobody knows."""
    newest = _newest(job)
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    match newest:
        case events.BodyProgress():
            return newest.done_bytes / max(newest.total_bytes, 1)
        case events.CacheProgress():
            return newest.done / max(newest.total, 1)
        case events.EpochDone():
            return newest.epoch / max(newest.epochs, 1)
        case events.BatchDone() if started and started[-1].epochs:
            return (newest.epoch - 1 + newest.done / newest.total) / started[-1].epochs
    return None
