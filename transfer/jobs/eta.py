"""How long trainings will take: by their own estimates, else by the trainings before them."""

import time
from statistics import median

from transfer import events
from transfer.jobs.job import Job


def typical_seconds(jobs: list[Job], source: str) -> float | None:
    """The median of the newest 20 finished trainings, if possible of the same source."""
    done = [job for job in jobs if job.state == "done" and job.started and job.ended]
    same = [job for job in done if job.source == source]
    seconds = [job.ended - job.started for job in (same or done)[-20:]]
    return median(seconds) if seconds else None


def seconds_left(job: Job, typical: float | None, most: float | None) -> float | None:
    """Of a running training; `most` is its time limit. None where nothing is known."""
    now = time.time()
    passed = now - (job.started or now)
    left = _estimated(job, now)
    if left is None and typical is not None and passed < typical:
        left = typical - passed
    return left if None in (left, most) else max(0.0, min(left, most - passed))


def _estimated(job: Job, now: float) -> float | None:
    """The rest of the current phase and all later phases; None before the first estimate."""
    seconds, over = {}, set()
    for event in [*job.history]:
        match event:
            case events.Estimated():
                seconds |= event.seconds
            case events.PhaseDone():
                over.add(event.phase)
            case events.CacheFilled():
                over.add("cache")
    if not seconds:
        return None
    current = "cache" if job.state in ("loading", "caching") else job.state
    later = sum(s for phase, s in seconds.items() if phase not in over | {current})
    return later + (_left_of_phase(job, seconds[current], now) if current in seconds else 0.0)


def _left_of_phase(job: Job, expected: float, now: float) -> float:
    """By the newest event of the current phase, else by the estimate of the phase."""
    newest = job.progress or (job.history[-1] if job.history else None)
    match newest:
        case events.CacheProgress(done=done, total=total, seconds=seconds) if done:
            return (total - done) * seconds / done
        case events.BatchDone(seconds_left=left) | events.EpochDone(seconds_left=left) if left:
            return left
    return max(0.0, expected - (now - job.since))
