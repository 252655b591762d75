"""The checkpoint of an unfinished training: one safetensors file, replaced atomically."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FILE = "training.safetensors"
PART = f"{FILE}.part"
SAVING = ".tmp"  # how the name of what safetensors is just writing begins
FORMAT_VERSION = 3
LARGEST_SHARE_OF_TIME = 0.05
SECONDS_BETWEEN = 1.0

Checkpoint = tuple[dict, "dict[str, torch.Tensor]"]


class CheckpointWriter:
    """Writes checkpoints into `folder`, as often as that takes at most 5 % of the time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ended, self._took = float("-inf"), 0.0

    def write_if_due(self, make: Callable[[], Checkpoint]) -> None:
        """Write what `make` returns, if enough time has passed. Raises OSError."""
        began = time.monotonic()
        pause = max(SECONDS_BETWEEN, self._took / LARGEST_SHARE_OF_TIME)
        if began - self._ended < pause:
            return
        try:
            write_checkpoint(self.folder, *make())
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - began


def write_checkpoint(folder: Path, record: dict, tensors: "dict[str, torch.Tensor]") -> None:
    """Readable by its owner only (mode 600), for it names images. Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = folder / PART
    record = {"format_version": FORMAT_VERSION} | record
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            part,
            {"training": json.dumps(record)},
        )
        sync(part)
        part.replace(folder / FILE)
    except (SafetensorError, OSError) as error:
        part.unlink(missing_ok=True)
        raise error if isinstance(error, OSError) else OSError(str(error)) from None


def sync(path: Path) -> None:
    """Wait until the disk has the file: a power cut, or a quota, could leave a name on half of it.
    Raises OSError."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The latest checkpoint; None where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, "pt") as file:
            record = json.loads((file.metadata() or {})["training"])
            if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
                return None
            # cloned, since the tensors share memory with the file, which will be replaced
            return record, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError):
        return None


def has_checkpoint(folder: Path) -> bool:
    return (folder / FILE).is_file()
