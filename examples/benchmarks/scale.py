"""Seconds and peak memory from 1,000 to 20,000 images, and how good the estimate was.

    python -m examples.benchmarks.scale --out scale.json

Generated JPEGs of 224 px, a vgg11 body for time's sake, `--image-size` as the network sees them,
every training in a process of its own with an empty cache.
"""

import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from examples.benchmarks.steps import machine

SIDE, CLASSES = 224, 10


def main(
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    sizes: Annotated[list[int], typer.Option("--images")] = (1_000, 2_000, 5_000, 10_000, 20_000),
    image_size: Annotated[int, typer.Option(help="Pixels a side in the network.")] = 96,
) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for images in sizes:
            source = write_images(Path(folder) / str(images), images)
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                rows.append(pool.submit(measure, source, images, image_size).result())
            print(json.dumps(rows[-1]), flush=True)
            out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def write_images(folder: Path, images: int) -> Path:
    """Class folders of JPEGs: noise over a colour that belongs to the class."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 120, (SIDE + 64, SIDE + 64, 3), dtype=np.uint8)
    for number in range(images):
        label = number % CLASSES
        top, left = random.integers(0, 64, 2)
        pixels = noise[top : top + SIDE, left : left + SIDE].copy()
        pixels[..., label % 3] += np.uint8(12 * label)
        target = folder / f"class-{label}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target, quality=85)
    return folder


def measure(source: Path, images: int, image_size: int) -> dict:
    from transfer.events import Estimated, RunSaved
    from transfer.training.recipe import training_events

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFER_CACHE"] = folder
        told = list(
            training_events(
                str(source),
                out=Path(folder) / "run",
                architecture="vgg11",
                weights="random",
                image_size=image_size,
                views=1,
                head="avg-256",
                head_epochs=3,
                finetune_epochs=1,
            )
        )
        kept = sum(file.stat().st_size for file in Path(folder).rglob("data.bin"))
    result = next(event.result for event in told if isinstance(event, RunSaved))
    return {
        "images": images,
        "peak_rss_megabytes": result["peak_rss_bytes"] / 1e6,
        "cache_megabytes": kept / 1e6,
        "seconds": result["seconds"],
        "taken": {phase["name"]: phase["seconds"] for phase in result["phases"]},
        "estimated": next(event.seconds for event in told if isinstance(event, Estimated)),
    }


if __name__ == "__main__":
    typer.run(main)
