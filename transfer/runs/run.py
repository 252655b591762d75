"""A run on disk: JSON and safetensors, versioned, whole or absent."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError
from transfer.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from transfer.model.vgg import Network

FORMAT_VERSION = 1
RECORD, TENSORS, REPORT, CHECKPOINT = "run.json", "model.safetensors", "report.json", "checkpoint"
STAGES = "stages.safetensors"
SMALLEST_SIDE, LARGEST_SIDE = 32, 512  # of an image, as TrainingSettings has it


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training: `record` is run.json, `report` is report.json."""

    path: Path
    record: dict
    report: dict

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.record["classes"])

    @property
    def accuracy(self) -> float:
        """On the test images."""
        return self.report["accuracy"]

    @property
    def settings(self) -> TrainingSettings:
        return TrainingSettings.from_json(self.record["settings"])

    @property
    def transform(self) -> Transform:
        return Transform.from_json(self.record["transform"])


def changed_tensors(
    network: "Network", body: dict[str, "torch.Tensor"]
) -> dict[str, "torch.Tensor"]:
    """The head's tensors and those of the body that are no longer bit-identical to `body`."""
    import torch

    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name not in body or not torch.equal(tensor.cpu(), body[name])
    }


def read_run(path: str | Path) -> Run:
    """Raises RunError when something is missing, cut or of another version."""
    path = Path(path).expanduser()
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
            "use the version of this package that made it, or train again"
        )
    for name, kind in (("settings", dict), ("classes", list), ("transform", dict), ("body", dict)):
        if not isinstance(record.get(name), kind):
            raise RunError(f"expected {name!r} in {RECORD} of the run, found none; train again")
    if not record["classes"] or not all(isinstance(name, str) for name in record["classes"]):
        raise RunError(
            f"expected names of classes in {RECORD} of the run, found others; train again"
        )
    if not isinstance(report.get("accuracy"), int | float):
        raise RunError(f"expected an accuracy in {REPORT} of the run, found none; train again")
    return Run(path=path, record=record, report=report)


def _read_json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"the run's {path.name} is missing; train again") from None
    except (OSError, ValueError, RecursionError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None
    if not isinstance(data, dict):
        raise RunError(f"expected a record in the run's {path.name}; train again")
    return data


def read_network(run: Run) -> "Network":
    """The network as it was saved: base body, changed tensors and head, float32, in eval mode.

    Raises RunError or WeightsError, naming what does not fit.
    """
    from transfer.model.vgg import build_network
    from transfer.model.weights import find_body_again

    tensors = read_tensors(run.path / TENSORS)
    try:
        _check_body(run.record["body"])
        _check_fits(run, tensors)  # before a body is fetched or memory taken for what is claimed
        settings = run.settings
        body = find_body_again(run.record["body"], settings.architecture, settings.seed)
    except (SettingsError, KeyError, AttributeError, TypeError) as error:
        raise RunError(f"the run's {RECORD} is damaged ({error}); train again") from None
    network = build_network(
        body=body.tensors,
        architecture=settings.architecture,
        head=settings.head,
        image_size=run.transform.image_size,
        classes=len(run.classes),
        seed=settings.seed,
    )
    network.load_state_dict(network.state_dict() | tensors)  # as float32, whatever is stored
    return network.eval()


def _check_body(identity: dict) -> None:
    """Another's record must not name a file of this machine."""
    weights, sha256 = str(identity.get("weights")), str(identity.get("sha256"))
    revision = identity.get("revision")
    known = weights in ("hub", "bundled", "random") or weights.startswith("file:")
    named = revision is None or re.fullmatch(r"(?!.*\.\.)\w[\w./-]{0,99}", str(revision))
    if not (known and named and re.fullmatch("[0-9a-f]{64}", sha256)):
        raise RunError(
            f"expected a body by its hash in {RECORD} of the run, found {weights[:40]!r}; "
            "train again"
        )


def read_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """A run's tensors as they are stored. Raises RunError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise RunError(f"the run's {path.name} is missing; train again") from None
    except (SafetensorError, OSError, ValueError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None


def _check_fits(run: Run, tensors: dict[str, "torch.Tensor"]) -> None:
    """Raises RunError unless these are the head and some of the body that run.json describes."""
    import torch

    from transfer.model.vgg import Network, build_head
    from transfer.model.weights import build_body

    settings, size = run.settings, run.transform.image_size
    if not SMALLEST_SIDE <= size <= LARGEST_SIDE:
        raise RunError(
            f"expected images of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels in {RECORD} of the run, "
            f"found {size}; train again"
        )
    with torch.device("meta"):
        body = build_body(settings.architecture)
        head = build_head(body, settings.head, size, len(run.classes), settings.seed)
    expected = Network(body, head).state_dict()
    for name in tensors.keys() - expected.keys():
        raise RunError(f"expected no tensor {name} in the run, found one; train again")
    for name, own in expected.items():
        found = tensors.get(name)
        if found is None and not name.startswith("features."):
            raise RunError(f"expected the tensor {name} in the run's {TENSORS}, found none")
        if found is None:
            continue
        if found.shape != own.shape:
            raise RunError(
                f"expected {name} with shape {tuple(own.shape)} in the run's {TENSORS}, found "
                f"{tuple(found.shape)}; train again"
            )
        if not found.is_floating_point() or not found.isfinite().all():
            raise RunError(
                f"expected finite numbers in {name} of the run's {TENSORS}, found others; "
                "train again"
            )
