"""Writes a run folder: complete or absent, with a checkpoint while the training is unfinished."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from transfer.errors import RunError
from transfer.runs.checkpoint import FILE, PART, Checkpoint, CheckpointWriter, has_checkpoint
from transfer.runs.run import CHECKPOINT, FORMAT_VERSION, RECORD, REPORT, STAGES, TENSORS, Run

if TYPE_CHECKING:
    import torch

LOCK = "lock"
BUILT = (TENSORS, STAGES, REPORT, RECORD)  # run.json comes last: it makes a folder a run
TEMPORARY = {FILE, PART, LOCK, *BUILT}  # what a training leaves in checkpoint/
LOG = logging.getLogger(__name__)


class RunWriter:
    """A run being written: `checkpoint/` until `finish` moves its files into the run folder.

    As a context manager it removes on exit what is not finished; with `resume` a checkpoint stays,
    and a folder with one is accepted. In a distributed training one process `writes`.
    """

    def __init__(self, path: str | Path, *, writes: bool = True, resume: bool = False):
        self.path = Path(path).expanduser()
        self.checkpoint = self.path / CHECKPOINT
        self.writes, self.resume, self.finished = writes, resume, False
        self._checkpoints = CheckpointWriter(self.checkpoint)
        self._lock = FileLock(self.checkpoint / LOCK, thread_local=False)
        self._warned = False

    def __enter__(self) -> "RunWriter":
        """Raises RunError when the folder cannot be created or holds something else."""
        if self.writes:
            try:
                self._create()
            except OSError as error:
                raise RunError(
                    f"the run folder {self.path.name!r} cannot be created ({error.strerror}); "
                    "choose another place"
                ) from None
        return self

    def _create(self) -> None:
        unfinished = is_unfinished(self.path)
        occupied = self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        if occupied and not (unfinished and self.resume):
            found = "an unfinished training" if unfinished else "something"
            remedy = "continue it with --resume, " if unfinished else ""
            raise RunError(
                f"expected a new or empty folder for the run, found {self.path.name!r} with "
                f"{found} in it; {remedy}choose another name or remove it"
            )
        self._created = unfinished or not self.path.exists()
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)  # the system releases that of a process that is killed
        except Timeout:
            raise RunError(
                f"expected no other training in {self.path.name!r}, found one that is running; "
                "wait for it, or choose another folder"
            ) from None
        except (OSError, NotImplementedError):
            LOG.info("this disk does not support locks")

    def __exit__(self, *_) -> None:
        if not self.writes:
            return
        self._lock.release()
        if self.resume and not self.finished and has_checkpoint(self.checkpoint):
            return
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        if not self.finished:
            for name in BUILT:
                (self.path / name).unlink(missing_ok=True)
            if self._created:
                shutil.rmtree(self.path, ignore_errors=True)

    def save_checkpoint(self, make: Callable[[], Checkpoint]) -> None:
        """Write what `make` returns as the checkpoint, with `resume` and if one is due."""
        if self.resume and self.writes:
            try:
                self._checkpoints.write_if_due(make)
            except OSError as error:  # the training itself continues
                level = logging.DEBUG if self._warned else logging.WARNING
                LOG.log(level, "no checkpoint was written (%s)", error.strerror or error)
                self._warned = True

    def finish(
        self, record: dict, report: dict, tensors: dict[str, "torch.Tensor"], stages: bytes = b""
    ) -> Run:
        """Write the run's files; `stages` is the file with the heads of earlier phases, if any."""
        from safetensors.torch import save

        run = Run(path=self.path, record={"format_version": FORMAT_VERSION} | record, report=report)
        if not self.writes:
            return run
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # not save_file, which creates files that only their owner can read
        (self.checkpoint / TENSORS).write_bytes(save(tensors))
        if stages:
            (self.checkpoint / STAGES).write_bytes(stages)
        for name, data in ((REPORT, run.report), (RECORD, run.record)):
            (self.checkpoint / name).write_text(json.dumps(data, indent=1), encoding="utf-8")
        for name in BUILT:
            if (self.checkpoint / name).exists():
                (self.checkpoint / name).replace(self.path / name)
        self._lock.release()
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        self.finished = True
        return run


def is_unfinished(path: Path) -> bool:
    """Whether the folder holds an interrupted training and nothing else."""
    try:
        found, inside = ({p.name for p in folder.iterdir()} for folder in (path, path / CHECKPOINT))
        return found <= {CHECKPOINT, *BUILT} - {RECORD} and inside <= TEMPORARY
    except OSError:
        return False
