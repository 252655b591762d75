"""The processes of one training, as `accelerate launch` starts them: what they share and agree on.

Each function is called by all of them at the same place; a single process passes through.
"""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

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
