"""One training: what is known of it, and in which state it is."""

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

LIVE = (
    "queued",
    "loading",
    "caching",
    "features",
    "heads",
    "warm-up",
    "fine-tune",
    "evaluating",
)
ENDED = ("done", "stopped", "failed", "interrupted", "expired")


@dataclass(kw_only=True, eq=False)
class Job:
    """One training. `history` holds every lasting event, `progress` the newest progress.

    `state` is one of LIVE or ENDED: `stopped` ended early and kept nothing, a run that was stopped
    and kept is `done`; `interrupted` was under way when the app ended; the run of `expired` has
    been removed. `error` says why there is no run, `note` what else is worth knowing of the end.
    `owner` is a hash, `name` what people read; `context` is that of whoever asked, as long as the
    app runs. `created`, `started`, `ended` and `since`, the last change of state, are seconds since
    1970. `version` counts changes, for whoever watches.
    """

    id: str
    owner: str
    source: str
    out: Path
    options: dict
    name: str = ""
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
    worker: tuple[int, float] | None = None
    context: Context = field(default_factory=copy_context)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def learning(self) -> bool:
        """Whether a stop would keep something by now."""
        return self.live and any(begins_to_learn(event, self.options) for event in [*self.history])

    @property
    def can_resume(self) -> bool:
        """Whether it was cut off and left a checkpoint."""
        return has_checkpoint(self.out / CHECKPOINT)


def begins_to_learn(event: events.Event, options: dict) -> bool:
    """Whether from this event on there is something that a stop would keep.

    The linear classifier on features is a result where it is the method, else only a bar.
    """
    first = "features" if options.get("method") == "features" else "warm-up"
    return isinstance(event, events.PhaseStarted) and event.phase == first


def state_after(event: events.Event) -> str | None:
    """The state that an event brings; None where it stays as it was."""
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
    return None


def new_id() -> str:
    return secrets.token_hex(8)


def hashed(owner: str) -> str:
    """What stands for a visitor on disk, since the id itself is a secret; "" for nobody."""
    if not owner or not isinstance(owner, str):
        return ""
    return hashlib.sha256(owner.encode(errors="replace")).hexdigest()[:16]


def shown_source(source: str) -> str:
    """A source as it may be shown: of a path on this machine the last part alone."""
    source = str(source).removeprefix("hub:")
    plain = Path(source)
    deep = plain.is_absolute() or source.startswith(("~", ".")) or len(plain.parts) > 2
    return plain.name if deep else source


def run_name(source: str, job_id: str) -> str:
    """A folder name that says what was trained and when."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name).strip("-").lower() or "run"
    return f"{plain[:40]}-{time.strftime('%Y%m%d-%H%M%S')}-{job_id[:8]}"
