"""A run on disk: JSON and safetensors, versioned, whole or absent."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from transfer.checkpoint import FILE, PART, Checkpoint, Keeper, has_checkpoint
from transfer.errors import RunError, SettingsError
from transfer.settings import TrainingSettings
from transfer.transform import Transform

if TYPE_CHECKING:
    import torch

    from transfer.network import Network

FORMAT_VERSION = 1
RECORD, TENSORS, REPORT, CHECKPOINT = "run.json", "model.safetensors", "report.json", "checkpoint"
STAGES, LOCK = "stages.safetensors", "lock"
OURS = {CHECKPOINT, TENSORS, STAGES, REPORT}
LOG = logging.getLogger(__name__)
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


class RunBuilder:
    """A run that is being made: `checkpoint/` while unfinished, complete once run.json is there.

    Used as a context: what is not finished when it closes is removed. With `resume` a checkpoint
    stays, and what an earlier training left here is gone on from. Of the processes of a distributed
    training one `writes`, the others share its folder and leave it as it is.
    """

    def __init__(self, path: str | Path, *, writes: bool = True, resume: bool = False):
        self.path = Path(path).expanduser()
        self.checkpoint = self.path / CHECKPOINT
        self.writes = writes
        self.resume = resume
        self.finished = False
        self._keeper = Keeper(self.checkpoint)
        self._lock = FileLock(self.checkpoint / LOCK, thread_local=False)
        self._complained = False

    def __enter__(self) -> "RunBuilder":
        """Raises RunError when the folder cannot be made or holds something already."""
        if self.writes:
            self._make()
        return self

    def _make(self) -> None:
        try:
            self._check_free()
            self._made = self._unfinished or not self.path.exists()
            self.checkpoint.mkdir(parents=True, exist_ok=True)
            self._be_the_only_one()
        except OSError as error:
            raise RunError(
                f"the run folder {self.path.name!r} cannot be made ({error.strerror}); "
                "choose another place"
            ) from None

    def _be_the_only_one(self) -> None:
        """A process that is killed lets go of its lock."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"expected no other training in {self.path.name!r}, found one under way; wait for "
                "it, or choose another folder"
            ) from None
        except (OSError, NotImplementedError):
            LOG.info("this disk knows no locks")

    def _check_free(self) -> None:
        self._unfinished = is_unfinished(self.path)
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if self._unfinished and self.resume:
            return
        found = "an unfinished training" if self._unfinished else "something"
        remedy = "go on from it with --resume, " if self._unfinished else ""
        raise RunError(
            f"expected a new or empty folder to write the run to, found {self.path.name!r} with "
            f"{found} in it; {remedy}choose another name or remove it"
        )

    def __exit__(self, *_) -> None:
        if not self.writes:
            return
        self._lock.release()
        if self.resume and not self.finished and has_checkpoint(self.checkpoint):
            return
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        if not self.finished:
            for name in (RECORD, TENSORS, STAGES, REPORT):
                (self.path / name).unlink(missing_ok=True)
            if self._made:
                shutil.rmtree(self.path, ignore_errors=True)

    def keep(self, make: Callable[[], Checkpoint]) -> None:
        """Write the checkpoint that `make` gives, where one may be wanted and it is time."""
        if self.resume and self.writes:
            try:
                self._keeper.offer(make)
            except OSError as error:  # the training itself is none the worse
                level = logging.DEBUG if self._complained else logging.WARNING
                LOG.log(level, "no checkpoint was written (%s)", error.strerror or error)
                self._complained = True

    def finish(
        self, record: dict, report: dict, tensors: dict[str, "torch.Tensor"], stages: bytes = b""
    ) -> Run:
        """Write everything, run.json last: it is what makes a folder a run.

        `stages` is the file of earlier stages' heads, where there are any.
        """
        record = {"format_version": FORMAT_VERSION} | record
        if self.writes:
            self._write(record, report, tensors, stages)
        return Run(path=self.path, record=record, report=report)

    def _write(
        self, record: dict, report: dict, tensors: dict[str, "torch.Tensor"], stages: bytes
    ) -> None:
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # not save_file, which keeps the file from everybody but its owner
        (self.checkpoint / TENSORS).write_bytes(save(tensors))
        if stages:
            (self.checkpoint / STAGES).write_bytes(stages)
        for name, data in ((REPORT, report), (RECORD, record)):
            (self.checkpoint / name).write_text(json.dumps(data, indent=1), encoding="utf-8")
        for name in (TENSORS, *([STAGES] if stages else []), REPORT, RECORD):
            (self.checkpoint / name).replace(self.path / name)
        self._lock.release()
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        self.finished = True


def is_unfinished(path: Path) -> bool:
    """Whether a training began to write here, was cut off, and nothing else is here."""
    try:
        found = {inside.name for inside in path.iterdir()}
    except OSError:
        return False
    return CHECKPOINT in found and found <= OURS and _is_ours(path / CHECKPOINT)


def _is_ours(checkpoint: Path) -> bool:
    """Nothing is in the folder but what a training leaves there."""
    left = {FILE, PART, LOCK, RECORD, TENSORS, STAGES, REPORT}
    try:
        return {inside.name for inside in checkpoint.iterdir()} <= left
    except OSError:
        return False


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
    from transfer.network import build_network
    from transfer.weights import find_body_again

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

    from transfer.network import Network, build_head
    from transfer.weights import build_body

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
