"""How fast the cache fills against the bare body, and how soon a second training learns.

    python -m examples.benchmarks.cache SOURCE --out cache.json

The bare body gets tensors that are in memory already, in the same dtypes and in batches of the same
size; the cache opens, decodes and resizes every image and writes its features to the disk. Then
another head learns from what is kept: the seconds until its first epoch, all libraries imported.
"""

import json
import os
import statistics
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated

import torch
import typer

from examples.benchmarks.steps import machine
from transfer.jobs.worker import NEEDED

IMAGES_A_BATCH = 64
PIXELS_ALONE = 512 * 64**2
COMMON = {"weights": "bundled", "views": 1, "unfreeze": "none", "head_epochs": 3}


def main(
    source: str,
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    image_size: Annotated[list[int], typer.Option(help="Pixels a side.")] = (64, 112, 224),
    rounds: Annotated[int, typer.Option(help="Of which the median counts.")] = 3,
) -> None:
    for name in NEEDED:
        import_module(name)
    rows = []
    for size in image_size:
        found = [measure(source, size) for _ in range(rounds)]
        medians = {key: statistics.median(row[key] for row in found) for key in found[0]}
        rows.append({"source": Path(source).name, "image_size": size, **medians, "all": found})
        print(size, medians, flush=True)
        out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(source: str, size: int) -> dict[str, float]:
    """One round with a cache of its own, empty at first."""
    from transfer.events import CacheFilled, PhaseStarted
    from transfer.machine.device import DTYPES, choose_precision

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFER_CACHE"] = folder
        first = told(source, Path(folder) / "first", head="avg-256", image_size=size)
        filled = next(event for _, event in first if isinstance(event, CacheFilled))
        again = told(source, Path(folder) / "again", head="avg-64", image_size=size)
    dtype = DTYPES[choose_precision("auto")]
    low, full = body_rate(size, dtype), body_rate(size, torch.float32)
    exact = filled.images["test"]
    alone = (sum(filled.images.values()) - exact) / low + exact / full
    return {
        "images": sum(filled.images.values()),
        "cache_seconds": filled.seconds,
        "body_seconds": alone,
        "share_of_the_body_s_rate": alone / filled.seconds,
        "seconds_to_a_second_training_s_first_epoch": next(
            seconds
            for seconds, event in again
            if isinstance(event, PhaseStarted) and event.phase == "warm-up"
        ),
    }


def told(source: str, out: Path, **options) -> list[tuple]:
    """(seconds since the start, event) of a whole training."""
    from transfer.training.recipe import training_events

    started = time.monotonic()
    events = training_events(source, out=out, **COMMON | options)
    return [(time.monotonic() - started, event) for event in events]


def body_rate(size: int, dtype: torch.dtype) -> float:
    """Images a second through the bare body."""
    from transfer.model.weights import build_body, find_body, load_body

    body = load_body(build_body("vgg16"), find_body("bundled", "vgg16", 0).tensors)
    body = body.eval().to(dtype=dtype, memory_format=torch.channels_last)
    images = torch.rand(max(8, min(IMAGES_A_BATCH, PIXELS_ALONE // size**2 // 4)), 3, size, size)
    images = images.to(dtype=dtype, memory_format=torch.channels_last)
    batches = max(2, PIXELS_ALONE // size**2 // len(images))
    with torch.inference_mode():
        body(images)
        started = time.perf_counter()
        for _ in range(batches):
            body(images)
    return batches * len(images) / (time.perf_counter() - started)


if __name__ == "__main__":
    typer.run(main)
