"""A run on disk: JSON and safetensors, versioned; reading it checks everything it claims."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError
from transfer.formatting import encodable
from transfer.settings import IMAGE_SIZES, TrainingSettings

if TYPE_CHECKING:
    import torch

    from transfer.model.vgg import Network

FORMAT_VERSION = 1
RECORD, TENSORS, REPORT, CHECKPOINT = "run.json", "model.safetensors", "report.json", "checkpoint"
STOPPED = "stopped"  # how a phase ended that was not trained to its end, in the record
STAGES, FAMILIARITY = "stages.safetensors", "familiarity.safetensors"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training: `record` is run.json, `report` is report.json."""

    path: Path
    record: dict
    report: dict

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(encodable, self.record["classes"]))

    @property
    def accuracy(self) -> float:
        """On the test images."""
        return self.report["accuracy"]

    @property
    def confusions(self) -> list[tuple[int, int, int]]:
        """(test images, index of their class, of the predicted one), the most frequent first."""
        counts = enumerate(self.report["confusion"])
        found = [(n, i, j) for i, row in counts for j, n in enumerate(row) if n and i != j]
        return sorted(found, key=lambda confusion: -confusion[0])

    @property
    def least_score(self) -> float | None:
        """Of the classes in the set of an answer; None for a run of an older version."""
        least = (self.record.get("calibration") or {}).get("least_score")
        return float(least) if isinstance(least, int | float) else None

    @property
    def settings(self) -> TrainingSettings:
        return TrainingSettings.from_json(self.record["settings"])

    @property
    def transform(self) -> Transform:
        return Transform.from_json(self.record["transform"])


def stopped_in(phases: list[dict]) -> str:
    """Of a run's phases the one that was stopped; empty where none was."""
    return next((p["name"] for p in phases if p.get("ended", "").startswith(STOPPED)), "")


def changed_tensors(
    network: "Network", body: dict[str, "torch.Tensor"]
) -> dict[str, "torch.Tensor"]:
    """The head's tensors, and those of the body that are not bit-identical to `body`."""
    import torch

    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name not in body or not torch.equal(tensor.cpu(), body[name])
    }


def run_path(path: str | Path) -> Path:
    """The path with the home folder in place of `~`. Raises RunError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise RunError(
            f"expected a home folder for {str(path)!r}, found none; write the path in full"
        ) from None


def read_run(path: str | Path) -> Run:
    """Raises RunError when something is missing, damaged or of another version."""
    path = run_path(path)
    if not path.is_dir():
        raise RunError(f"expected a run folder, found none called {path.name!r}; check its name")
    if not (path / RECORD).exists():
        raise RunError(
            f"expected a finished run in {path.name!r}, found no {RECORD}; train into it first"
        )
    record, report = (_read_json(path / name) for name in (RECORD, REPORT))
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise RunError(
            f"expected a run of format {FORMAT_VERSION}, found {version!r}; "
            "use the version of this package that wrote it, or train again"
        )
    for name, kind in (("settings", dict), ("classes", list), ("transform", dict), ("body", dict)):
        _require(isinstance(record.get(name), kind), f"{name!r} in the run's {RECORD}", "none")
    classes = record["classes"]
    named = classes and all(isinstance(name, str) for name in classes)
    _require(named, f"class names in the run's {RECORD}")
    accurate = isinstance(report.get("accuracy"), int | float)
    _require(accurate, f"an accuracy in the run's {REPORT}", "none")
    return Run(path=path, record=record, report=report)


def _require(fits: bool, expected: str, found: object = "others") -> None:
    if not fits:
        raise RunError(f"expected {expected}, found {found}; train again")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except FileNotFoundError:
        raise RunError(f"the run's {path.name} is missing; train again") from None
    except (SafetensorError, OSError, ValueError, RecursionError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None


def _read_json(path: Path) -> dict:
    with _file_errors(path):
        data = json.loads(path.read_text(encoding="utf-8"))
    _require(isinstance(data, dict), f"a JSON object in the run's {path.name}")
    return data


def read_tensors(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, str]]:
    """(tensors as they are stored, metadata) of a run's file. Raises RunError."""
    from safetensors import safe_open

    with _file_errors(path), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_network(run: Run) -> "Network":
    """The network as it was saved: original body, changed tensors, head; float32, in eval mode.

    Raises RunError or WeightsError, naming what does not fit.
    """
    from transfer.model.vgg import build_network
    from transfer.model.weights import find_body_again

    tensors, _ = read_tensors(run.path / TENSORS)
    try:
        _check_body(run.record["body"])
        _check_tensors(run, tensors)  # before a body is downloaded or memory allocated
        settings = run.settings
        body = find_body_again(run.record["body"], settings.architecture, settings.seed)
    except (SettingsError, KeyError, AttributeError, TypeError) as error:
        raise RunError(f"the run's {RECORD} is damaged ({error}); train again") from None
    size, classes = run.transform.image_size, len(run.classes)
    network = build_network(
        settings.architecture, body.tensors, settings.head, size, classes, settings.seed
    )
    network.load_state_dict(network.state_dict() | tensors)  # casts to float32
    return network.eval()


def _check_body(identity: dict) -> None:
    """A run of somebody else must not name a file of this machine."""
    weights, sha256 = str(identity.get("weights")), str(identity.get("sha256"))
    revision = identity.get("revision")
    known = weights in ("hub", "bundled", "random") or weights.startswith("file:")
    named = revision is None or re.fullmatch(r"(?!.*\.\.)\w[\w./-]{0,99}", str(revision))
    known = known and named and re.fullmatch("[0-9a-f]{64}", sha256)
    _require(known, f"a body by its hash in the run's {RECORD}", repr(weights[:40]))


def _check_tensors(run: Run, tensors: dict[str, "torch.Tensor"]) -> None:
    """Raises RunError unless these are the head and body tensors that run.json describes.

    Nothing of the described size is allocated.
    """
    import torch

    from transfer.model.vgg import Network, build_head
    from transfer.model.weights import build_body

    settings, size = run.settings, run.transform.image_size
    low, high = IMAGE_SIZES
    _require(low <= size <= high, f"images of {low} to {high} pixels in the run's {RECORD}", size)
    with torch.device("meta"):
        body = build_body(settings.architecture)
        head = build_head(body, settings.head, size, len(run.classes), settings.seed)
    described = Network(body, head).state_dict()
    for name in tensors:
        _require(name in described, f"no tensor {name} in the run's {TENSORS}", "one")
    for name, own in described.items():
        if name not in tensors and name.startswith("features."):
            continue  # of the body only what changed is stored
        _require(name in tensors, f"the tensor {name} in the run's {TENSORS}", "none")
        found, shape = tensors[name], tuple(own.shape)
        fits = found.shape == own.shape
        _require(fits, f"{name} with shape {shape} in the run's {TENSORS}", tuple(found.shape))
        finite = found.is_floating_point() and found.isfinite().all()
        _require(finite, f"finite numbers in {name} of the run's {TENSORS}")
