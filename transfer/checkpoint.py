"""A training under way, on disk: one file, whole or the one before it, to go on from."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FILE = "training.safetensors"
FORMAT_VERSION = 1
LARGEST_SHARE_OF_TIME = 0.05
SECONDS_BETWEEN = 1.0

Checkpoint = tuple[dict, "dict[str, torch.Tensor]"]


class Keeper:
    """Writes checkpoints into `folder`, as often as that costs a twentieth of the time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ended, self._took = float("-inf"), 0.0

    def offer(self, make: Callable[[], Checkpoint]) -> None:
        """Write what `make` gives, (JSON, tensors), if it is time. Raises OSError."""
        began = time.monotonic()
        pause = max(SECONDS_BETWEEN, self._took / LARGEST_SHARE_OF_TIME)
        if began - self._ended >= pause:
            write_checkpoint(self.folder, *make())
            self._ended = time.monotonic()
            self._took = self._ended - began


def write_checkpoint(folder: Path, record: dict, tensors: "dict[str, torch.Tensor]") -> None:
    """Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = folder / f"{FILE}.part"
    record = {"format_version": FORMAT_VERSION} | record
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            part,
            {"training": json.dumps(record)},
        )
    except SafetensorError as error:
        raise OSError(str(error)) from None
    part.replace(folder / FILE)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """What was written last; None where there is nothing that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, "pt") as file:
            record = json.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
    return (record, tensors) if record.get("format_version") == FORMAT_VERSION else None


def has_checkpoint(folder: Path) -> bool:
    return (folder / FILE).is_file()
