"""Garbage collections that are quick, in a process full of libraries."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_what_is_new() -> Iterator[None]:
    """Collections in here look only at what came up since it began.

    Accelerate collects after each phase and each measured step; looking through all that the
    imported libraries hold would take longer than a phase on cached features.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
