"""What a training says while it runs: plain records that travel as JSON lines.

In the order in which they come: BodyProgress… where the body is downloaded, WeightsChosen,
DatasetReady, Estimated, CacheProgress…, CacheFilled, then for each phase PhaseStarted,
(BatchDone…, EpochDone)…, PhaseDone, with HeadTried…, HeadChosen before warm-up where heads are
tried, and at the end RunSaved. Resumed comes where a training that was cut off goes on.
"""

from dataclasses import asdict, dataclass

from transfer.errors import TransferError


@dataclass(frozen=True, kw_only=True)
class BodyProgress:
    """`done_bytes` of `total_bytes` of the body have come from the Hub."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class WeightsChosen:
    """Where the body comes from and why: `weights` is hub, bundled, random or file:NAME."""

    weights: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DatasetReady:
    """The images found, and what the defaults made of the settings left open."""

    source: str
    classes: list[str]
    images: dict[str, int]
    skipped: list[dict[str, str]]
    settings: dict


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Phase → the seconds it will take at most, measured on a few images before it starts.

    `cached` says in a sentence what is cached of every image, and why.
    """

    seconds: dict[str, float]
    cached: str


@dataclass(frozen=True, kw_only=True)
class CacheProgress:
    """`done` of `total` views of images have passed the frozen part of the body."""

    stage: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CacheFilled:
    """Features of all images are on disk; `computed` views of them were not there before.

    `images` are those that take part, by split; `skipped` is everything that does not.
    """

    images: dict[str, int]
    skipped: list[dict[str, str]]
    computed: int
    megabytes: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HeadTried:
    """One head, warmed up on cached features for a short while and judged on validation."""

    head: str
    dropout: float
    learning_rate: float
    optimizer: str
    parameters: int
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HeadChosen:
    """`head` goes on to warm-up; `tried` has one row a head, as HeadTried, and `chosen`."""

    head: str
    tried: list[dict]
    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """`trainable` of `parameters` parameters learn in this phase; `learns` names the parts."""

    phase: str
    epochs: int
    trainable: int
    parameters: int
    learns: list[str]


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The training goes on after `epoch` of `phase`: what was told since then no longer counts.

    Without a phase it begins anew, on what the cache holds by now.
    """

    phase: str = ""
    epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """Within an epoch; sent at most a few times a second."""

    phase: str
    epoch: int
    done: int
    total: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """Losses are mean cross-entropies in nats; accuracies are shares; validation is held out.

    Epoch 0 of fine-tune is the state that warm-up left. `drift` is each unfrozen part's distance
    from where it began, relative to its norm there.
    """

    phase: str
    epoch: int
    epochs: int
    loss: float | None
    validation_loss: float
    validation_accuracy: float
    best: bool
    seconds: float
    seconds_left: float
    drift: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class PhaseDone:
    """`epochs` were trained, `best_epoch` is kept; `ended` is why it stopped.

    `accuracy` and `loss`, where there is one, are the kept state's on validation; it lies `share`
    of the way from the phase's start to `best_epoch`.
    """

    phase: str
    epochs: int
    best_epoch: int
    accuracy: float
    seconds: float
    ended: str
    loss: float | None = None
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RunSaved:
    """The last event: the run is complete on disk, `result` is what `train --json` prints."""

    run: str
    result: dict


Event = (
    BodyProgress
    | WeightsChosen
    | DatasetReady
    | Estimated
    | CacheProgress
    | CacheFilled
    | HeadTried
    | HeadChosen
    | Resumed
    | PhaseStarted
    | BatchDone
    | EpochDone
    | PhaseDone
    | RunSaved
)
# what is only worth showing until the next event comes
TRANSIENT = (BodyProgress, CacheProgress, BatchDone, HeadTried)
KINDS = {kind.__name__: kind for kind in Event.__args__}


def record(history: list[Event], event: Event) -> None:
    """Add a lasting event to what was told before it; one that resumes takes back what followed."""
    if isinstance(event, Resumed):
        del history[_still_counts(history, event) :]
    history.append(event)


def _still_counts(history: list[Event], resumed: Resumed) -> int:
    """How many events. Whoever was cut off may not have heard of the very last epoch."""
    if not resumed.phase:
        return 0
    reached = [
        at
        for at, told in enumerate(history, 1)
        if isinstance(told, PhaseStarted | EpochDone)
        and told.phase == resumed.phase
        and getattr(told, "epoch", 0) <= resumed.epoch
    ]
    return reached[-1] if reached else len(history)


def to_json(event: Event) -> dict:
    return {"event": type(event).__name__} | asdict(event)


def from_json(data: dict) -> Event:
    """Raises TransferError on a record that is no event."""
    fields = {key: value for key, value in data.items() if key != "event"}
    try:
        return KINDS[data["event"]](**fields)
    except (KeyError, TypeError) as error:
        raise TransferError(f"expected an event, found something else ({error})") from None
