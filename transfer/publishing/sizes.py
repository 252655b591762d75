"""The sizes of the files that would be published, estimated without torch or writing anything."""

import json
import math
from pathlib import Path

from transfer.errors import RunError
from transfer.publishing.redact import published_record, published_report
from transfer.publishing.timm_limits import CHANNELS, KERNEL, WIDTH, check_exportable
from transfer.runs.run import RECORD, REPORT, TENSORS, Run

BODY_NUMBERS = {"vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384}
FLOAT_BYTES, HALF_BYTES = 4, 2
HEADER_BYTES_A_TENSOR, CONFIG_BYTES = 85, 600


def head_files(run: Run) -> dict[str, int]:
    """With matrices in half precision. Raises RunError."""
    shapes = _shapes(run.path / TENSORS)
    size = HEADER_BYTES_A_TENSOR * len(shapes)
    for shape in shapes.values():
        size += math.prod(shape) * (HALF_BYTES if len(shape) > 1 else FLOAT_BYTES)
    return {TENSORS: size, RECORD: _json_bytes(published_record(run)), REPORT: _report_bytes(run)}


def full_files(run: Run) -> dict[str, int]:
    """timm's VGG in float32, its config and the report. Raises RunError."""
    check_exportable(run)
    (features,) = _shapes(run.path / TENSORS).get("head.mean", (0,))
    classes, hidden = len(run.classes), run.settings.head.hidden
    # the width of fc1, as timm_export chooses it
    width = hidden[0] if len(hidden) == 2 else min(features, *hidden[:1] or [2 * classes])
    numbers = (
        BODY_NUMBERS[run.settings.architecture]
        + (CHANNELS * KERNEL**2 + 1) * width
        + (width + 1) * WIDTH
        + (WIDTH + 1) * classes
    )
    return {
        TENSORS: FLOAT_BYTES * numbers,
        "config.json": CONFIG_BYTES + _json_bytes(list(run.classes)),
        REPORT: _report_bytes(run),
    }


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
