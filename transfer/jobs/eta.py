"""How long trainings will take: from what they said themselves, else from those before them."""

import time
from statistics import median

from transfer import events
from transfer.jobs.job import Job

NEWEST = 20


def typical_seconds(jobs: list[Job], source: str) -> float | None:
    """The median of finished trainings, of the same source if there are any; None without any."""
    done = [job for job in jobs if job.state == "done" and job.started and job.ended]
    same = [job for job in done if job.source == source]
    taken = [job.ended - job.started for job in (same or done)[-NEWEST:]]
    return median(taken) if taken else None


def seconds_left(job: Job, typical: float | None, most: float | None) -> float | None:
    """Of a training under way: what its own estimates and progress say, else what is typical.

    `most` is what a training may take. None where nobody knows.
    """
    now = time.time()
    passed = now - (job.started or now)
    left = _estimated(job, now)
    if left is None and typical is not None and passed < typical:
        left = typical - passed
    if left is None or most is None:
        return left
    return max(0.0, min(left, most - passed))


def _estimated(job: Job, now: float) -> float | None:
    """The rest of the present phase and all of those to come; None before the first estimate."""
    history, seconds = [*job.history], {}
    for event in history:
        if isinstance(event, events.Estimated):
            seconds |= event.seconds
    if not seconds:
        return None
    over = {event.phase for event in history if isinstance(event, events.PhaseDone)}
    if any(isinstance(event, events.CacheFilled) for event in history):
        over.add("cache")
    present = "cache" if job.state in ("loading", "caching") else job.state
    left = 0.0
    for phase, expected in seconds.items():
        if phase == present:
            left += _of_present(job, expected, now)
        elif phase not in over:
            left += expected
    return left


def _of_present(job: Job, expected: float, now: float) -> float:
    """What is left of the phase under way: as it says itself, else by the estimate."""
    newest = job.progress or (job.history[-1] if job.history else None)
    match newest:
        case events.CacheProgress(done=done, total=total, seconds=seconds) if done:
            return (total - done) * seconds / done
        case events.BatchDone(seconds_left=left) | events.EpochDone(seconds_left=left) if left:
            return left
    return max(0.0, expected - (now - job.since))
