"""Whether timm's VGG can hold a run's network, told without torch."""

from transfer.errors import RunError
from transfer.run_folder import Run

KERNEL = 7  # of timm's fc1, pixels of a body's output a side
LARGEST_SIDE = 32 * (KERNEL + 1) - 1  # above it fc1 would see more than one place


def check_exportable(run: Run) -> None:
    """Raises RunError."""
    image_size = run.transform.image_size
    if image_size > LARGEST_SIDE:
        raise RunError(
            f"expected a run on images of at most {LARGEST_SIDE} pixels, found {image_size}; "
            f"timm's VGG cannot hold its head; train again with --image-size {LARGEST_SIDE} or less"
        )
