"""What timm's VGG can hold, without importing torch or timm."""

from transfer.errors import RunError
from transfer.runs.run import Run

CHANNELS = 512  # of the body's output
KERNEL = 7  # pixels a side that timm's `pre_logits.fc1` sees of that output
WIDTH = 4096  # of the output of timm's `pre_logits.fc2`
LARGEST_SIDE = 32 * (KERNEL + 1) - 1  # pixels; above it fc1 would slide over several places


def check_exportable(run: Run) -> None:
    """Raises RunError if the run's images are too large for timm's VGG."""
    image_size = run.transform.image_size
    if image_size > LARGEST_SIDE:
        raise RunError(
            f"expected a run on images of at most {LARGEST_SIDE} pixels, found {image_size}; "
            f"timm's VGG cannot hold its head; train again with --image-size {LARGEST_SIDE} or less"
        )
