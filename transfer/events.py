"""The events of a training: plain records that travel between processes as JSON lines.

In order: BodyProgress… if the body is downloaded, WeightsChosen, DatasetReady, Estimated,
CacheProgress…, CacheFilled, then for each phase PhaseStarted, (BatchDone…, EpochDone)…, PhaseDone,
with HeadTried…, HeadChosen before warm-up if heads are tried and BlocksProbed before fine-tune,
CrossValidated where validation is small, and finally RunSaved. Resumed comes when an interrupted
training continues.
"""

from dataclasses import asdict, dataclass, field

from transfer.errors import TransferError


@dataclass(frozen=True, kw_only=True)
class BodyProgress:
    """`done_bytes` of `total_bytes` of the body are downloaded."""

    done_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        return self.done_bytes / max(self.total_bytes, 1)


@dataclass(frozen=True, kw_only=True)
class WeightsChosen:
    """The source of the body, and why: `weights` is hub, bundled, random or file:NAME."""

    weights: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DatasetReady:
    """The images found, and the settings with every default filled in. `greys` says how values of
    more than 8 bits are scaled."""

    source: str
    classes: list[str]
    images: dict[str, int]
    skipped: list[dict[str, str]]
    settings: dict
    greys: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Phase → the seconds it will take at most; `cached` says what is cached, and why."""

    seconds: dict[str, float]
    cached: str


@dataclass(frozen=True, kw_only=True)
class CacheProgress:
    """`done` of `total` views of images have passed the frozen part of the body; `stage` is a
    description."""

    stage: str
    done: int
    total: int
    seconds: float

    @property
    def share(self) -> float:
        return self.done / max(self.total, 1)


@dataclass(frozen=True, kw_only=True)
class CacheFilled:
    """All features are on disk; `computed` views were not there before.

    `images` counts the readable ones of each split, `skipped` lists the others.
    """

    images: dict[str, int]
    skipped: list[dict[str, str]]
    computed: int
    megabytes: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HeadTried:
    """A head, trained briefly on cached features and judged on validation."""

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
    """`head` goes on to warm-up; `tried` has a row for each HeadTried, with `chosen` added."""

    head: str
    tried: list[dict]
    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """`trainable` of `parameters` parameters learn; `learns` names the parts: block1 … head."""

    phase: str
    epochs: int
    trainable: int
    parameters: int
    learns: list[str]


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The training continues after `epoch` of `phase`; events after that epoch no longer count.

    Without a phase it starts over, on the features cached so far.
    """

    phase: str = ""
    epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """Within an epoch, at most a few times a second."""

    phase: str
    epoch: int
    done: int
    total: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """Losses are mean cross-entropies in nats, accuracies shares.

    Epoch 0 is the state at the phase's start. `drift` is each unfrozen part's distance from there,
    relative to its norm there. `best` is the least validation loss so far; in the record of a
    finished phase, the epoch whose weights it ends with.
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
    """`epochs` were trained; `ended` says why no more.

    The weights now lie `share` of the way from the phase's start to `best_epoch`; `accuracy` and
    `loss` are theirs on validation.
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
class BlocksProbed:
    """Block → the accuracy of a linear classifier on its output as it is before fine-tune, judged
    out of fold on so many training images. `no_gain` are the blocks that are not better than the
    one below by more than chance."""

    images: int
    accuracy: dict[str, float]
    no_gain: list[str]


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """The linear head's accuracy on training and validation images, each judged by a fit on the
    other folds, with its 95 % interval."""

    folds: int
    accuracy: float
    interval: list[float]
    images: int


@dataclass(frozen=True, kw_only=True)
class RunSaved:
    """The last event: the run is on disk; `result` is what `train --json` prints."""

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
    | BlocksProbed
    | CrossValidated
    | RunSaved
)
# of interest only until the next event
TRANSIENT = (BodyProgress, CacheProgress, BatchDone, HeadTried)
KINDS = {kind.__name__: kind for kind in Event.__args__}


def record(history: list[Event], event: Event) -> None:
    """Append an event; one that resumes first removes what no longer counts."""
    if isinstance(event, Resumed):
        del history[_still_counts(history, event) :]
    history.append(event)


def _still_counts(history: list[Event], resumed: Resumed) -> int:
    """How many events; the history may lack the very last epoch of the checkpoint."""
    if not resumed.phase:
        return 0
    reached = [
        position
        for position, event in enumerate(history, 1)
        if isinstance(event, PhaseStarted | EpochDone)
        and event.phase == resumed.phase
        and getattr(event, "epoch", 0) <= resumed.epoch
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
