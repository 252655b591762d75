"""The process's device and arithmetic, through Accelerate."""

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import (
    DataLoaderConfiguration,
    DistributedType,
    GradientAccumulationPlugin,
    parse_flag_from_env,
    set_seed,
)

from transfer.errors import SettingsError
from transfer.formatting import without_folders
from transfer.machine.device import DTYPES, choose_precision, exact_float32
from transfer.machine.processes import from_main_process

# that processes wait for what the main one does alone; the launcher ends them if one has ended
PATIENCE = timedelta(days=1)
# the variables that it acts on at its start
SETTINGS = re.compile(r"(ACCELERATE|FSDP|PARALLELISM|MASTER|CUDA)_|(LOCAL_)?(RANK|WORLD_SIZE)$")
SHARDED = (DistributedType.DEEPSPEED, DistributedType.FSDP, DistributedType.MEGATRON_LM)


def make_accelerator(seed: int, precision: str = "auto") -> Accelerator:
    """An Accelerator for this hardware, or as `accelerate launch` configured it; seeds everything.

    `precision` is auto, bf16, fp16 or fp32; see `choose_precision`. A process may train several
    times, each time in another precision. Raises SettingsError when the environment asks for what
    is not there, or for what this training cannot do.
    """
    AcceleratorState._reset_state()  # else the first precision would stay for all
    try:
        accelerator = _make(precision)
    except Exception as error:
        AcceleratorState._reset_state(reset_partial_state=True)  # of which there is only a part
        found = [f"{k}={v[:40]}" for k, v in sorted(os.environ.items()) if SETTINGS.match(k)]
        raise SettingsError(
            f"accelerate cannot start here ({without_folders(str(error))[:200]}); unset what is "
            f"not meant of {', '.join(found) or 'its settings'}"
        ) from None
    exact_float32()
    set_seed(seed)
    return accelerator


def _make(precision: str) -> Accelerator:
    # as Accelerator would create it; from here on the processes can talk to each other
    PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=PATIENCE)
    configured = os.environ.get("ACCELERATE_MIXED_PRECISION", "").lower()
    # `no` is also what the launcher sets where none is named
    named = precision == "auto" and configured not in ("", "no")
    # each process measured for itself, so the main one's choice goes to all
    chosen = from_main_process(lambda: configured if named else choose_precision(precision))
    if chosen not in DTYPES:
        raise ValueError(f"expected a precision of {', '.join(DTYPES)}, found {chosen!r}")
    # steps and compiling are not for the environment to decide: each batch is one step
    accelerator = Accelerator(
        mixed_precision=chosen,
        dynamo_backend="no",
        dataloader_config=DataLoaderConfiguration(non_blocking=True),  # where memory is pinned
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    if accelerator.distributed_type in SHARDED:
        kind = accelerator.distributed_type.value
        raise ValueError(f"expected the whole network on each GPU, found {kind}")
    return accelerator


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Garbage collections in here skip all objects that exist already.

    Accelerate collects after each phase and each measured step; going through everything that the
    imported libraries hold would take longer than a phase on cached features.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
