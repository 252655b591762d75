"""Spaces on ZeroGPU: a GPU for some seconds at a time, in a process forked from this one.

Must be imported before torch is: `spaces` lets torch speak of a GPU that is not there yet.
"""

from collections.abc import Iterator
from functools import partial
from importlib import import_module

import spaces

from transfer.jobs.gpu_slices import SlicedWorker, one_slice
from transfer.jobs.worker import NEEDED

SECONDS_A_SLOT = 60  # a longer one waits longer, and is refused to visitors with little quota left

for name in NEEDED:  # the forked process has them at once, and its time is not spent on that
    import_module(name)


@spaces.GPU(duration=SECONDS_A_SLOT)
def slot(order: dict, flag: str) -> Iterator[dict]:
    """One slice of a training, see `one_slice`."""
    yield from one_slice(order, flag, SECONDS_A_SLOT)


zero_gpu_worker = partial(SlicedWorker, slot=slot)
