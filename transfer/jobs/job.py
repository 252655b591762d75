"""One training in the background: what is known about it, and the states it passes through."""

import hashlib
import re
import secrets
import time
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path

from transfer import events
from transfer.runs.checkpoint import has_checkpoint
from transfer.runs.run import CHECKPOINT
from transfer.settings import TrainingSettings

RUNNING = ("loading", "caching", "features", "heads", "warm-up", "fine-tune", "evaluating")
LIVE = ("queued", *RUNNING)
WITHOUT_RUN = ("stopped", "failed", "interrupted")
ENDED = ("done", *WITHOUT_RUN, "expired")


@dataclass(kw_only=True, eq=False)
class Job:
    """One training. Times are seconds since 1970; `since` is that of the last change of state.

    A training that is stopped once it has learned something saves its run and is `done`; `stopped`
    means that there was nothing to save. `interrupted` was running when the app ended. The run of
    an `expired` job has been removed. `error` says why there is no run, `note` why the training
    ended early. `history` holds the lasting events, `progress` the newest transient one. `owner` is
    a hash of the visitor's id. `name` is what its images are called, `title` what a person has
    called its run. ZeroGPU reads from `context` whose request started the job.
    """

    id: str
    owner: str
    source: str
    out: Path
    settings: TrainingSettings
    name: str = ""
    title: str = ""
    state: str = "queued"
    error: str = ""
    note: str = ""
    history: list[events.Event] = field(default_factory=list)
    progress: events.Event | None = None
    stopping: bool = False
    version: int = 0
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    since: float = field(default_factory=time.time)
    context: Context = field(default_factory=copy_context)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def learning(self) -> bool:
        """Whether a stop would save what was learned so far."""
        # a fine-tuning fits a linear classifier first too, but only to compare with
        first = "features" if self.settings.method == "features" else "warm-up"
        started = [e.phase for e in [*self.history] if isinstance(e, events.PhaseStarted)]
        return self.live and first in started

    @property
    def can_resume(self) -> bool:
        return has_checkpoint(self.out / CHECKPOINT)


def state_after(event: events.Event, state: str) -> str:
    """The state of a job that was in `state` when this event came."""
    match event:
        case events.CacheProgress():
            return "caching"
        case events.HeadTried():
            return "heads"
        case events.PhaseStarted(phase=phase) | events.Resumed(phase=phase) if phase:
            return phase
        case events.PhaseDone():
            return "evaluating"
        case events.RunSaved():
            return "done"
    return state


def new_id() -> str:
    return secrets.token_hex(8)


def hashed(owner: str) -> str:
    """The name of a visitor on disk, because a visitor's id is a secret; "" for nobody."""
    if not owner or not isinstance(owner, str):
        return ""
    return hashlib.sha256(owner.encode(errors="replace")).hexdigest()[:16]


def shown_source(source: str) -> str:
    """A source as it may be shown: only the last part of a path on this machine."""
    source = str(source).removeprefix("hub:")
    path = Path(source)
    is_path = path.is_absolute() or source.startswith(("~", ".")) or len(path.parts) > 2
    return path.name if is_path else source


def run_name(source: str, job_id: str) -> str:
    """The name of a run's folder: what was trained, when, and the start of the job's id."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name).strip("-").lower() or "run"
    return f"{plain[:40]}-{time.strftime('%Y%m%d-%H%M%S')}-{job_id[:8]}"
