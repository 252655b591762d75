"""The processes of a training fill one cache together, on whatever machines they are."""

from pathlib import Path
from uuid import uuid4

from accelerate import Accelerator

from transfer.cache.paths import cache_errors
from transfer.errors import CacheError
from transfer.machine.processes import from_main_process, in_any_process


def check_shared(folder: Path, accelerator: Accelerator) -> None:
    """Raises CacheError in all processes unless each of them sees this folder of the cache."""
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
