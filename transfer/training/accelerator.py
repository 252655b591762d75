"""The process's device and arithmetic, through Accelerate."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, set_seed

from transfer.device import choose_precision


def make_accelerator(seed: int, precision: str = "auto") -> Accelerator:
    """An Accelerator for this hardware, or as `accelerate launch` configured it; seeds everything.

    `precision` is auto, bf16, fp16 or fp32; see `choose_precision`. A process may train several
    times, each time in another precision.
    """
    AcceleratorState._reset_state()  # else the first precision would stay for all
    if precision == "auto" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        accelerator = Accelerator()
    else:
        # as Accelerator would create it; from here on the processes can talk to each other
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        # each process measured for itself, so the main one's choice goes to all
        (chosen,) = broadcast_object_list([choose_precision(precision)])
        accelerator = Accelerator(mixed_precision=chosen)
    set_seed(seed)
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
