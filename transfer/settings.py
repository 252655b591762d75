"""The settings of a training: immutable records, validated when created, JSON both ways.

None means "choose it from the dataset": `training.defaults` does so, and the run records what it
chose.
"""

from dataclasses import asdict, dataclass, field, fields, replace

from transfer.errors import SettingsError

BLOCKS = ("block1", "block2", "block3", "block4", "block5")
UNFREEZE = (*BLOCKS, "none")
EFFORTS = ("quick", "balanced", "thorough")
METHODS = ("finetune", "features")
WEIGHTS = ("auto", "hub", "bundled", "random")  # or a file
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
POOLINGS = ("avg", "flatten")
ARCHITECTURES = ("vgg16", "vgg11", "vgg13", "vgg19")
FOLDS = (2, 100)  # of a cross-validation
IMAGE_SIZES = (32, 512)  # pixels: five poolings need 32; above 512 a head or a batch is too large


def _one_of(name: str, value, allowed: tuple) -> None:
    if not isinstance(value, type(allowed[0])) or value not in allowed:  # 1 == True
        raise SettingsError(
            f"{name} must be one of {', '.join(map(str, allowed))}, found {value!r}"
        )


def _number(name: str, value, low, high, *, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
    if not fits:
        kind = "a whole number" if whole else "a number"
        raise SettingsError(f"{name} must be {kind} from {low} to {high}, found {value!r}")


def _kind(name: str, value, kind: type, called: str) -> None:
    if not isinstance(value, kind):
        raise SettingsError(f"{name} must be {called}, found {value!r}")


def _text(name: str, value) -> None:
    _kind(name, value, str, "text")


def _optional(check, name: str, value, *args, **kwargs) -> None:
    if value is not None:
        check(name, value, *args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """The shape of the head: pooling, the widths of 0 to 2 hidden layers, their dropout."""

    pooling: str | None = None
    hidden: tuple[int, ...] | None = None
    dropout: float | None = None

    def __post_init__(self):
        _optional(_one_of, "head pooling", self.pooling, POOLINGS)
        _optional(_kind, "head hidden", self.hidden, tuple | list, "a tuple of widths")
        if len(self.hidden or ()) > 2:
            raise SettingsError(f"head hidden takes at most 2 layers, found {len(self.hidden)}")
        for width in self.hidden or ():
            _number("head hidden width", width, 1, 4096, whole=True)
        _optional(_number, "head dropout", self.dropout, 0, 0.95)

    @classmethod
    def named(cls, name: str) -> "HeadSettings":
        """From pooling and widths, as in `avg`, `flatten-256` or `avg-256-128`."""
        pooling, *widths = str(name).split("-")
        plain = all(w.isascii() and w.isdecimal() and len(w) <= 4 for w in widths)
        if pooling not in POOLINGS or not plain:
            raise SettingsError(
                f"head must be auto, or avg or flatten with up to two widths, like flatten-256 or "
                f"avg-256-128, found {name!r}"
            )
        return cls(pooling=pooling, hidden=tuple(int(width) for width in widths))

    @property
    def name(self) -> str:
        widths = ("auto",) if self.hidden is None else self.hidden
        return "-".join([self.pooling or "auto", *map(str, widths)])


LINEAR_HEAD = HeadSettings(pooling="avg", hidden=(), dropout=0.0)


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """How one phase trains. `learning_rate` is the peak of a cosine schedule over all steps.

    Without `patience` all epochs are trained, so that the schedule reaches its end.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    patience: int | None = None

    def check(self, phase: str) -> None:
        _optional(_number, f"{phase} epochs", self.epochs, 0, 10_000, whole=True)
        _optional(_number, f"{phase} learning rate", self.learning_rate, 1e-9, 10)
        _optional(_text, f"{phase} optimizer", self.optimizer)
        _optional(_number, f"{phase} weight decay", self.weight_decay, 0, 1)
        _optional(_number, f"{phase} batch size", self.batch_size, 1, 65_536, whole=True)
        _optional(_number, f"{phase} patience", self.patience, 1, 10_000, whole=True)

    def filled(self, **defaults) -> "PhaseSettings":
        """The same settings, with each None replaced by its default."""
        return replace(self, **{k: v for k, v in defaults.items() if getattr(self, k) is None})


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A decision about one training or validation image: another label, or that it is left out.

    `where` is its name as the dataset gives it.
    """

    where: str
    label: str | None = None
    leave_out: bool = False

    def __post_init__(self):
        _text("where of a correction", self.where)
        _optional(_text, "label of a correction", self.label)
        _one_of("leave_out of a correction", self.leave_out, (True, False))
        if self.leave_out == (self.label is not None):
            raise SettingsError(
                "a correction must have either a label or leave_out, found "
                f"{'both' if self.leave_out else 'neither'} for {self.where!r}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that decides what a training does with a dataset.

    `effort` sets the scale of what is left open; other fields win over it. `folds` are those of the
    cross-validation. `corrections` holds the decisions themselves, not the file they came from: a
    training is resumed with the same ones only. `others` is a folder or a zip of photos that show
    none of the classes.
    """

    method: str = "finetune"
    effort: str = "balanced"
    weights: str = "auto"
    architecture: str = "vgg16"
    image_size: int | None = None
    unfreeze: str | None = None
    head: HeadSettings = field(default_factory=HeadSettings)
    try_heads: bool = True
    warm_up: PhaseSettings = field(default_factory=PhaseSettings)
    fine_tune: PhaseSettings = field(default_factory=PhaseSettings)
    views: int | None = None
    class_weights: bool | None = None
    target_accuracy: float | None = None
    precision: str = "auto"
    seed: int = 0
    limit_per_class: int | None = None
    image_column: str | None = None
    label_column: str | None = None
    config: str | None = None
    folds: int | None = None
    corrections: tuple[Correction, ...] = ()
    others: str | None = None

    def __post_init__(self):
        _one_of("method", self.method, METHODS)
        _one_of("effort", self.effort, EFFORTS)
        _text("weights", self.weights)
        _optional(_one_of, "unfreeze", self.unfreeze, UNFREEZE)
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("precision", self.precision, PRECISIONS)
        _optional(_number, "image size", self.image_size, *IMAGE_SIZES, whole=True)
        _optional(_number, "views", self.views, 1, 100, whole=True)
        _optional(_number, "target accuracy", self.target_accuracy, 0, 1)
        _optional(_number, "limit per class", self.limit_per_class, 1, 10_000_000, whole=True)
        _optional(_one_of, "class weights", self.class_weights, (True, False))
        _one_of("try heads", self.try_heads, (True, False))
        _number("seed", self.seed, 0, 2**31 - 1, whole=True)
        _optional(_text, "image column", self.image_column)
        _optional(_text, "label column", self.label_column)
        _optional(_text, "config", self.config)
        _optional(_text, "others", self.others)
        _optional(_number, "folds", self.folds, *FOLDS, whole=True)
        _kind("corrections", self.corrections, tuple, "a tuple of Correction")
        for correction in self.corrections:
            _kind("correction", correction, Correction, "a Correction")
        if len({one.where for one in self.corrections}) < len(self.corrections):
            raise SettingsError("corrections must name each image once, found one that is repeated")
        _kind("head", self.head, HeadSettings, "HeadSettings")
        for name, phase in (("warm-up", self.warm_up), ("fine-tune", self.fine_tune)):
            _kind(name, phase, PhaseSettings, "PhaseSettings")
            phase.check(name)

    @classmethod
    def from_options(
        cls,
        /,
        *,
        head_epochs: int | None = None,
        finetune_epochs: int | None = None,
        head_lr: float | None = None,
        finetune_lr: float | None = None,
        optimizer: str | None = None,
        head: "str | HeadSettings" = "auto",
        **options,
    ) -> "TrainingSettings":
        """From the option names of the command line and of `transfer.train`.

        `head` is `auto` (several are tried on cached features), a name or HeadSettings.
        """
        known = {f.name for f in fields(cls)}
        for name in options:
            if name not in known:
                raise SettingsError(f"expected a known setting, found {name!r}; see --help")
        warm_up = PhaseSettings(epochs=head_epochs, learning_rate=head_lr, optimizer=optimizer)
        fine_tune = PhaseSettings(
            epochs=finetune_epochs, learning_rate=finetune_lr, optimizer=optimizer
        )
        if head != "auto":
            options["head"] = head if isinstance(head, HeadSettings) else HeadSettings.named(head)
            options["try_heads"] = False
        return cls(**{"warm_up": warm_up, "fine_tune": fine_tune} | options)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> "TrainingSettings":
        """Raises SettingsError on unknown fields and bad values."""
        try:
            hidden = data["head"]["hidden"]
            hidden = None if hidden is None else tuple(hidden)
            head = HeadSettings(**data["head"] | {"hidden": hidden})
            phases = {name: PhaseSettings(**data[name]) for name in ("warm_up", "fine_tune")}
            corrections = tuple(Correction(**one) for one in data.get("corrections", ()))
            return cls(**data | {"head": head, "corrections": corrections} | phases)
        except (TypeError, KeyError) as error:
            raise SettingsError(f"these settings cannot be read ({error}); train again") from None
