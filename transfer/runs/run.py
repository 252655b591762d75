"""A run on disk: JSON and safetensors, versioned; reading it checks everything it claims."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError
from transfer.settings import IMAGE_SIZES, TrainingSettings

if TYPE_CHECKING:
    import torch

    from transfer.model.vgg import Network

FORMAT_VERSION = 1
RECORD, TENSORS, REPORT, CHECKPOINT = "run.json", "model.safetensors", "report.json", "checkpoint"
STAGES = "stages.safetensors"


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
    """The head's tensors, and those of the body that are not bit-identical to `body`."""
    import torch

    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name not in body or not torch.equal(tensor.cpu(), body[name])
    }


def read_run(path: str | Path) -> Run:
    """Raises RunError when something is missing, damaged or of another version."""
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
            "use the version of this package that wrote it, or train again"
        )
    for name, kind in (("settings", dict), ("classes", list), ("transform", dict), ("body", dict)):
        if not isinstance(record.get(name), kind):
            raise RunError(f"expected {name!r} in the run's {RECORD}, found none; train again")
    if not record["classes"] or not all(isinstance(name, str) for name in record["classes"]):
        raise RunError(f"expected class names in the run's {RECORD}, found others; train again")
    if not isinstance(report.get("accuracy"), int | float):
        raise RunError(f"expected an accuracy in the run's {REPORT}, found none; train again")
    return Run(path=path, record=record, report=report)


def _read_json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"the run's {path.name} is missing; train again") from None
    except (OSError, ValueError, RecursionError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None
    if not isinstance(data, dict):
        raise RunError(f"expected a JSON object in the run's {path.name}; train again")
    return data


def read_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """The tensors of a run's file, as they are stored. Raises RunError."""
    return read_safetensors(path)[0]


def read_safetensors(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, str]]:
    """(tensors, metadata) of a run's file. Raises RunError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"the run's {path.name} is missing; train again") from None
    except (SafetensorError, OSError, ValueError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None


def read_network(run: Run) -> "Network":
    """The network as it was saved: original body, changed tensors, head; float32, in eval mode.

    Raises RunError or WeightsError, naming what does not fit.
    """
    from transfer.model.vgg import build_network
    from transfer.model.weights import find_body_again

    tensors = read_tensors(run.path / TENSORS)
    try:
        _check_body(run.record["body"])
        _check_tensors(run, tensors)  # before a body is downloaded or memory allocated
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
    network.load_state_dict(network.state_dict() | tensors)  # casts to float32
    return network.eval()


def _check_body(identity: dict) -> None:
    """A run of somebody else must not name a file of this machine."""
    weights, sha256 = str(identity.get("weights")), str(identity.get("sha256"))
    revision = identity.get("revision")
    known = weights in ("hub", "bundled", "random") or weights.startswith("file:")
    named = revision is None or re.fullmatch(r"(?!.*\.\.)\w[\w./-]{0,99}", str(revision))
    if not (known and named and re.fullmatch("[0-9a-f]{64}", sha256)):
        raise RunError(
            f"expected a body by its hash in the run's {RECORD}, found {weights[:40]!r}; "
            "train again"
        )


def _check_tensors(run: Run, tensors: dict[str, "torch.Tensor"]) -> None:
    """Raises RunError unless these are the head and body tensors that run.json describes.

    Nothing of the described size is allocated.
    """
    import torch

    from transfer.model.vgg import Network, build_head
    from transfer.model.weights import build_body

    settings, size = run.settings, run.transform.image_size
    low, high = IMAGE_SIZES
    if not low <= size <= high:
        raise RunError(
            f"expected images of {low} to {high} pixels in the run's {RECORD}, found {size}; "
            "train again"
        )
    with torch.device("meta"):
        body = build_body(settings.architecture)
        head = build_head(body, settings.head, size, len(run.classes), settings.seed)
    expected = Network(body, head).state_dict()
    for name in tensors.keys() - expected.keys():
        raise RunError(f"expected no tensor {name} in the run's {TENSORS}, found one; train again")
    for name, own in expected.items():
        found = tensors.get(name)
        if found is None:
            if not name.startswith("features."):  # of the body only what changed is stored
                raise RunError(f"expected the tensor {name} in the run's {TENSORS}, found none")
        elif found.shape != own.shape:
            raise RunError(
                f"expected {name} with shape {tuple(own.shape)} in the run's {TENSORS}, found "
                f"{tuple(found.shape)}; train again"
            )
        elif not found.is_floating_point() or not found.isfinite().all():
            raise RunError(
                f"expected finite numbers in {name} of the run's {TENSORS}, found others; "
                "train again"
            )
