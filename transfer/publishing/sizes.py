"""The sizes of what would be published and the limits of timm's VGG, without importing torch."""

import json
from itertools import pairwise

from transfer.errors import RunError
from transfer.inference.onnx_format import FACTS, MODEL
from transfer.inference.timm_config import CONFIG
from transfer.publishing.onnx.runtime import KNOWN, WEB
from transfer.publishing.redact import base_model, published_record, published_report
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, TENSORS, Run

BODY_NUMBERS = {"vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384}
FLOAT_BYTES = 4
CONFIG_BYTES = 600  # without the class names
# Of timm's VGG:
CHANNELS = 512  # of the body's output
KERNEL = 7  # pixels a side that timm's `pre_logits.fc1` sees of that output
WIDTH = 4096  # of the output of timm's `pre_logits.fc2`
LARGEST_SIDE = 32 * (KERNEL + 1) - 1  # pixels; above it fc1 would slide over several places


def head_config(run: Run) -> dict:
    """A head's config.json. The Hub counts downloads by this file; all that is needed to load a
    head stands in run.json."""
    return {
        "model_type": "transfer-vgg-head",
        "base_architecture": run.settings.architecture,
        "base_model": base_model(run),
        "image_size": run.transform.image_size,
        "label_names": list(run.classes),
    }


def head_files(run: Run) -> dict[str, int]:
    """In half precision, as a published head is stored already. Raises RunError."""
    try:
        size = (run.path / TENSORS).stat().st_size
    except OSError:
        raise RunError(f"the run's {TENSORS} is missing; train again") from None
    familiarity = run.path / FAMILIARITY
    known = {FAMILIARITY: familiarity.stat().st_size} if familiarity.is_file() else {}
    return known | {
        TENSORS: size if run.record.get("stored") == "float16" else size // 2,
        CONFIG: _json_bytes(head_config(run)),
        RECORD: _json_bytes(published_record(run)),
        REPORT: _json_bytes(published_report(run, public=False)),
    }


def full_files(run: Run) -> dict[str, int]:
    """timm's VGG in float32, its config and the report. Raises RunError."""
    check_exportable(run)
    classes, head, hidden = len(run.classes), run.settings.head, run.settings.head.hidden
    places = 1 if head.pooling == "avg" else (run.transform.image_size // 32) ** 2
    features = CHANNELS * places
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
        CONFIG: CONFIG_BYTES + _json_bytes(list(run.classes)),
        REPORT: _json_bytes(published_report(run, public=False)),
    }


def page_files(run: Run) -> dict[str, int]:
    """Half precision, and what the page needs to run it."""
    classes, head = len(run.classes), run.settings.head
    places = 1 if head.pooling == "avg" else (run.transform.image_size // 32) ** 2
    widths = [CHANNELS * places, *head.hidden, classes]
    numbers = BODY_NUMBERS[run.settings.architecture]
    numbers += sum(inputs * outputs for inputs, outputs in pairwise(widths))
    familiarity = run.path / FAMILIARITY  # in half precision already
    known = familiarity.stat().st_size if familiarity.is_file() else 0
    return {
        MODEL: FLOAT_BYTES // 2 * numbers + known,
        FACTS: CONFIG_BYTES + _json_bytes(list(run.classes)),
        **{path.name: path.stat().st_size for path in WEB.iterdir()},
        **{name: size for name, (size, _) in KNOWN.items()},
    }


def check_exportable(run: Run) -> None:
    """Raises RunError if the run's images are too large for timm's VGG."""
    image_size = run.transform.image_size
    if image_size > LARGEST_SIDE:
        raise RunError(
            f"expected a run on images of at most {LARGEST_SIDE} pixels, found {image_size}; "
            f"timm's VGG cannot hold its head; train again with --image-size {LARGEST_SIDE} or less"
        )


def _json_bytes(data: dict | list) -> int:
    return len(json.dumps(data, indent=1).encode())
