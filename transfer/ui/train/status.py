"""A job in words, while it is queued, while it runs and once it has ended."""

from html import escape

from transfer import events
from transfer.formatting import accuracy_text, describe, duration, interval_text, phase_times
from transfer.jobs import Job
from transfer.runs.run import stopped_in
from transfer.ui.shared.components import progress_bar, status
from transfer.ui.train.diagram import unfrozen

HEADLINES = {
    "queued": "Queued",
    "loading": "Loading PyTorch, the images and the body",
    "caching": "Preparing images",
    "features": "Feature extraction: a linear classifier on the frozen body",
    "heads": "Trying several heads on the cached features",
    "warm-up": "Phase 1 of 2: warm-up. The new head learns, the body is frozen",
    "fine-tune": "Phase 2 of 2: fine-tune. The upper blocks learn too, in small steps",
    "evaluating": "Evaluating on the test images",
    "done": "Done",
    "stopped": "Stopped before anything was learned. Nothing was saved",
    "failed": "This training failed",
    "interrupted": "Interrupted: the app ended during this training",
    "expired": "This run has been removed",
}
TITLES = {"caching": "preparing", "features": "fitting", "heads": "trying heads"}  # of the window
# what to do after an end without a run
ADVICE = {
    "stopped": "Start again with the same settings, or change them first.",
    "failed": "Fix the problem above, then start again.",
    "interrupted": "Start again continues with the cached features.",
    "expired": "Start again trains it once more.",
}
NOTIFY = '<button type="button" class="notify" hidden>Notify me at the end</button>'
NO_JOB = status("<b>No training yet.</b><p>Progress and results will show here.</p>")


def job_status(job: Job, position: int, wait: float | None, left: float | None) -> str:
    """Headline, progress, and one line about the newest event.

    `wait` is the seconds until a queued job starts, `left` the seconds that a running one still
    takes; None if not known.
    """
    announced = f"<b>{escape(_headline(job, position))}</b>"
    lines = (_detail(job), job.note, _advice(job))
    notes = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    if not job.live:
        return status(announced + notes, kind=job.state)
    share = _share(job)  # a screen reader does not announce what changes all the time
    now = f'<p class="now">{escape(_now(job, position, wait, left))}</p>'
    expected = f'<p class="expected">{escape(_expected(job))}</p>'
    percent = "" if share is None else f"{share:.0%}"
    title = f"{percent} {TITLES.get(job.state, job.state)}".strip()
    for_window = f'<i hidden data-title="{title}" data-done="{percent}"></i>'
    silent = f"{for_window}{progress_bar(share)}{now}{notes}{expected}{NOTIFY}"
    return status(announced, silent, "live")


def _advice(job: Job) -> str:
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    if epochs and not job.live and job.can_resume:
        after = f"{epochs[-1].phase} epoch {epochs[-1].epoch}"
        return f"A checkpoint is saved: Start again resumes after {after}."
    return ADVICE.get(job.state, "")


def _headline(job: Job, position: int) -> str:
    if job.state == "stopped" and job.can_resume:
        return "Stopped before it resumed"
    if job.stopping and job.live:
        saves = "within one batch and saving the result"
        return f"Stopping {saves}" if job.learning else "Stopping. Nothing has been learned yet"
    if position:
        return f"Queued: {position} before yours"
    if job.state == "done" and (phase := stopped_in(_saved(job).get("phases", []))):
        return f"Stopped in {phase}. What it had learned is saved"
    if job.state == "warm-up" and unfrozen(job) == "none":
        return "Warm-up: the new head learns, the body is frozen"
    return HEADLINES[job.state]


def _now(job: Job, position: int, wait: float | None, left: float | None) -> str:
    """When it starts; or the time left, and the newest accuracy."""
    if position and wait is None:
        return "The time until it starts is not known."
    if position:
        return f"Starts in about {duration(wait)}." if wait >= 1 else "Starts in a moment."
    if left is None:
        return "The time it takes is measured once the images are open."
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    accuracy = f", accuracy {epochs[-1].validation_accuracy:.1%} so far" if epochs else ""
    return f"About {duration(left)} left{accuracy}"


def _expected(job: Job) -> str:
    estimates = [event for event in job.history if isinstance(event, events.Estimated)]
    if not estimates:
        return ""
    seconds = {phase: s for event in estimates for phase, s in event.seconds.items()}
    return f"Estimated at most: {phase_times(seconds)}; {estimates[-1].cached}."


def _detail(job: Job) -> str:
    if job.error:
        return job.error
    if result := _saved(job):
        images, interval = result["images"]["test"], result["accuracy_interval"]
        accuracy, balanced = accuracy_text(result["accuracy"], images), ""
        accuracy += " of the" * accuracy.endswith("%")
        if result.get("uneven"):
            balanced = f", {result['balanced_accuracy']:.1%} as the mean of the classes"
        return (
            f"{accuracy} test images are right "
            f"(95 % interval {interval_text(*interval, images)}){balanced}, "
            f"after {duration(result['seconds'])}.{_before(result, images)} Try it in step 3."
        )
    if not job.live:
        return ""
    newest = _newest(job)
    return describe(newest) if newest else f"Dataset: {job.name}"


def _before(result: dict, images: int) -> str:
    """What the two phases started from, so that people see what these gained."""
    judged = {p["name"]: p.get("test_accuracy") for p in result.get("phases", ())}
    if len(judged) < 3 or judged.get("features") is None:  # preparing images, features, one more
        return ""
    return f" Features alone: {accuracy_text(judged['features'], images)}."


def _saved(job: Job) -> dict:
    """The result of its run; empty where there is none."""
    return next((e.result for e in job.history if isinstance(e, events.RunSaved)), {})


def _newest(job: Job) -> events.Event | None:
    return job.progress or (job.history[-1] if job.history else None)


def _share(job: Job) -> float | None:
    """How much of the current phase is done, 0 to 1; None if not known."""
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    match newest := _newest(job):
        case events.BodyProgress() | events.CacheProgress():
            return newest.share
        case events.EpochDone():
            return newest.epoch / max(newest.epochs, 1)
        case events.BatchDone() if started and started[-1].epochs:
            return (newest.epoch - 1 + newest.done / newest.total) / started[-1].epochs
    return None
