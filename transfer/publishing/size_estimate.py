"""How large a bundle will be, told by a run's files before anything is written, without torch."""

import json
import math
from pathlib import Path

from transfer.errors import RunError
from transfer.publishing.redact import published_record, published_report
from transfer.runs.run import RECORD, REPORT, TENSORS, Run

CONFIG = "config.json"
BODY_NUMBERS = {"vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384}
CHANNELS, WIDTH = 512, 4096  # of timm's body, its fc1 and its fc2
NUMBER_BYTES, HALF_BYTES = 4, 2
HEADER_BYTES_A_TENSOR, CONFIG_BYTES = 85, 600


def head_files(run: Run) -> dict[str, int]:
    """Name → bytes, with the matrices in half precision. Raises RunError."""
    shapes = _shapes(run.path / TENSORS)
    numbers = sum(
        math.prod(shape) * (HALF_BYTES if len(shape) > 1 else NUMBER_BYTES)
        for shape in shapes.values()
    )
    header = HEADER_BYTES_A_TENSOR * len(shapes)
    record = _json_bytes(published_record(run))
    return {TENSORS: numbers + header, RECORD: record, REPORT: _report_bytes(run)}


def full_files(run: Run) -> dict[str, int]:
    """Name → bytes of timm's VGG in float32, its config and the report. Raises RunError."""
    check_exportable(run)
    (features,) = _shapes(run.path / TENSORS).get("head.mean", (0,))
    classes, hidden = len(run.classes), run.settings.head.hidden
    rows = hidden[0] if len(hidden) == 2 else min(features, *hidden[:1] or [2 * classes])
    numbers = (
        BODY_NUMBERS[run.settings.architecture]
        + (CHANNELS * KERNEL**2 + 1) * rows
        + (rows + 1) * WIDTH
        + (WIDTH + 1) * classes
    )
    config = CONFIG_BYTES + _json_bytes(list(run.classes))
    return {TENSORS: NUMBER_BYTES * numbers, CONFIG: config, REPORT: _report_bytes(run)}


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """From the file's header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        raise RunError(f"the run's {path.name} is cut, damaged or missing; train again") from None


def _report_bytes(run: Run) -> int:
    return _json_bytes(published_report(run, public=False))


def _json_bytes(data: dict | list) -> int:
    return len(json.dumps(data, indent=1).encode())


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
