"""A GPU that is lent for some seconds at a time, as Spaces on ZeroGPU have it."""

import os


def lent_in_slots() -> bool:
    """Whether this process has a GPU only so. Needs no torch."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))
