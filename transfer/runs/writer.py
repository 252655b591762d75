"""A run that is being made: whole or absent, and gone on from where it was cut off."""

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
LEFT_THERE = {FILE, PART, LOCK, *BUILT}
LOG = logging.getLogger(__name__)


class RunWriter:
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
        self._keeper = CheckpointWriter(self.checkpoint)
        self._lock = FileLock(self.checkpoint / LOCK, thread_local=False)
        self._complained = False

    def __enter__(self) -> "RunWriter":
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
            for name in BUILT:
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
        for name in BUILT:
            if (self.checkpoint / name).exists():
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
    known = {CHECKPOINT, *BUILT} - {RECORD}
    return CHECKPOINT in found and found <= known and _is_ours(path / CHECKPOINT)


def _is_ours(checkpoint: Path) -> bool:
    """Nothing is in the folder but what a training leaves there."""
    try:
        return {inside.name for inside in checkpoint.iterdir()} <= LEFT_THERE
    except OSError:
        return False
