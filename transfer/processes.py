"""The processes of one training, as `accelerate launch` starts them: what they share and agree on.

Each function is called by all of them at the same place; a single process passes through.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

from transfer.cache.paths import cache_errors
from transfer.errors import CacheError

Computed = TypeVar("Computed")


def is_main_process() -> bool:
    """Whether this is the process of a training that writes and reports, once there is one."""
    return PartialState().is_main_process


def from_main_process(compute: Callable[[], Computed]) -> Computed:
    """What `compute` returns in the main process, in all processes."""
    found = compute() if is_main_process() else None
    return broadcast_object_list([found])[0]


def in_any_process(accelerator: Accelerator, ask: Callable[[], bool]) -> bool:
    """Whether `ask` says so in any process."""
    if ask():
        accelerator.set_trigger()
    return accelerator.check_trigger()


def check_shared(folder: Path, accelerator: Accelerator) -> None:
    """Raises CacheError in all processes unless all, on whatever machines, see this folder of the
    cache: they fill it together."""
    mark = folder / from_main_process(lambda: f"launch-{uuid4().hex}")
    try:
        if accelerator.is_main_process:
            with cache_errors():
                mark.touch()
        accelerator.wait_for_everyone()
        hidden = in_any_process(accelerator, lambda: not mark.exists())
    finally:
        if accelerator.is_main_process:
            mark.unlink(missing_ok=True)
    if hidden:
        raise CacheError(
            "expected one cache for all processes of a training, found several; set TRANSFER_CACHE "
            "to a folder that all machines share"
        )
