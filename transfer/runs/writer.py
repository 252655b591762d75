"""Writes a run folder: complete or absent, with a checkpoint while the training is unfinished."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from transfer.cache.paths import cache_folder
from transfer.errors import CacheError, RunError
from transfer.formatting import byte_size
from transfer.machine.environment import is_shared
from transfer.runs.checkpoint import (
    FILE,
    PART,
    SAVING,
    Checkpoint,
    CheckpointWriter,
    has_checkpoint,
    sync,
)
from transfer.runs.run import (
    CHECKPOINT,
    FAMILIARITY,
    FORMAT_VERSION,
    RECORD,
    REPORT,
    STAGES,
    TENSORS,
    Run,
    run_path,
)

if TYPE_CHECKING:
    import torch

LOCK, RESERVED = "lock", "reserved"
BUILT = (TENSORS, STAGES, FAMILIARITY, REPORT, RECORD)
TEMPORARY = {FILE, PART, LOCK, RESERVED, *BUILT}  # what a training leaves in checkpoint/
CHUNK = 1_000_000  # bytes
LOG = logging.getLogger(__name__)


class RunWriter:
    """A run being written: `checkpoint/` until `finish` moves its files into the run folder.

    As a context manager it removes on exit what is not finished; with `resume` a checkpoint stays,
    and a folder with one is accepted. What a killed training has left without a checkpoint is no
    loss, so it counts as empty. In a distributed training one process `writes`.
    """

    def __init__(self, path: str | Path, *, writes: bool = True, resume: bool = False):
        self.path = run_path(path)
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
        if occupied and not unfinished:
            raise self._occupied("something")
        if has_checkpoint(self.checkpoint) and not self.resume:
            raise self._occupied("an unfinished training", "continue it with --resume, ")
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
            if unfinished and not self.resume:  # nothing says whether it is still running
                raise self._occupied("an unfinished training") from None
        self._remove_built()

    def _occupied(self, found: str, remedy: str = "") -> RunError:
        return RunError(
            f"expected a new or empty folder for the run, found {self.path.name!r} with {found} in "
            f"it; {remedy}choose another name or remove it"
        )

    def _remove_built(self) -> None:
        """Files of a run that was not finished, wherever it got to."""
        for name in (RESERVED, *BUILT):
            for folder in (self.checkpoint, self.path):
                with suppress(OSError):
                    (folder / name).unlink()
        for left in self.checkpoint.glob(f"{SAVING}*"):  # of a process that was killed
            with suppress(OSError):
                left.unlink()

    def __exit__(self, *_) -> None:
        if not self.writes:
            return
        self._lock.release()
        if self.finished:
            return
        self._remove_built()
        if self.resume and has_checkpoint(self.checkpoint):
            return
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        if self._created:
            shutil.rmtree(self.path, ignore_errors=True)

    def reserve(self, size: int) -> None:
        """Take `size` bytes of the disk until the run's files are written in their place.

        Else a full disk, or a quota, would be met after the last epoch rather than before the
        first. Raises RunError.
        """
        if not self.writes:
            return
        reserved = self.checkpoint / RESERVED
        try:
            with reserved.open("wb") as file:
                for done in range(0, size, CHUNK):
                    file.write(bytes(min(CHUNK, size - done)))
            sync(reserved)
        except OSError as error:
            raise RunError(
                f"expected room for a run of {byte_size(size)} in {self.path.name!r}, which cannot "
                f"be written ({error.strerror}); free some disk, or choose another place"
            ) from None

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
        self, record: dict, report: dict, tensors: dict[str, "torch.Tensor"], **others: bytes
    ) -> Run:
        """Write the run's files; `others` are those of `run_files`.

        Raises RunError when they cannot be written, which says where they are instead.
        """
        run = Run(path=self.path, record={"format_version": FORMAT_VERSION} | record, report=report)
        if not self.writes:
            return run
        files = run_files(record, report, tensors, **others)
        try:
            self._place(files)
        except OSError as error:
            raise self._rescued(files, error) from None
        self.finished = True
        self._lock.release()
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        return run

    def _place(self, files: dict[str, bytes]) -> None:
        self.checkpoint.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        (self.checkpoint / RESERVED).unlink(missing_ok=True)
        for name, data in files.items():
            (self.checkpoint / name).write_bytes(data)
            sync(self.checkpoint / name)
        for name in files:
            (self.checkpoint / name).replace(self.path / name)

    def _rescued(self, files: dict[str, bytes], error: OSError) -> RunError:
        """Write them to another disk, unless a checkpoint has the training; what to tell people."""
        problem = f"the run {self.path.name!r} cannot be written ({error.strerror})"
        if self.resume and has_checkpoint(self.checkpoint):
            return RunError(f"{problem}; make room, then resume the training")
        for parent in _other_disks():
            folder = parent / f"{self.path.name}-{os.getpid()}"
            try:
                folder.mkdir(mode=0o700, parents=True)
                for name, data in files.items():
                    (folder / name).write_bytes(data)
                return RunError(f"{problem}; it is saved in {str(folder)!r}, move it from there")
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
        return RunError(f"{problem}, and nothing else either; make room, then train again")


def _other_disks() -> Iterator[Path]:
    if is_shared():  # whose visitors' runs expire
        return
    with suppress(CacheError):
        yield cache_folder() / "rescued"
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def run_files(
    record: dict,
    report: dict,
    tensors: dict[str, "torch.Tensor"],
    *,
    stages: bytes = b"",
    familiarity: bytes = b"",
) -> dict[str, bytes]:
    """Name → content of a run's files. `run.json` comes last: it makes a folder a run.

    `stages` are the heads of earlier phases and `familiarity` what the training photos look like,
    as files, if there are any.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # not save_file, which creates files that only their owner can read
    files = {TENSORS: save(tensors), STAGES: stages, FAMILIARITY: familiarity}
    files = {name: data for name, data in files.items() if data}
    texts = {REPORT: report, RECORD: {"format_version": FORMAT_VERSION} | record}
    return files | {name: json.dumps(data, indent=1).encode() for name, data in texts.items()}


def is_unfinished(path: Path) -> bool:
    """Whether the folder holds an interrupted training and nothing else."""
    try:
        found, inside = ({p.name for p in folder.iterdir()} for folder in (path, path / CHECKPOINT))
        inside = {name for name in inside if not name.startswith(SAVING)}
        return found <= {CHECKPOINT, *BUILT} - {RECORD} and inside <= TEMPORARY
    except OSError:
        return False
