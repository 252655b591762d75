"""What `benchmark` could have measured on some machine."""

from transfer.settings import BLOCKS
from transfer.training.forecast import Speed


def speed(*, forward: float, step: float, head_step: float) -> Speed:
    """Seconds on a CPU: an image through each block, an optimizer step, one of a head."""
    return Speed(
        forward=dict.fromkeys(BLOCKS, forward),
        full_precision=1.0,
        step=step,
        head_step=head_step,
        fast_device=False,
        feature_bytes=2,
    )
