"""Seconds, processor seconds and peak memory of each command on many small images.

    python -m examples.benchmarks.scale --out scale.json

Generated JPEGs of 32 px. Every command is a process of its own. The first training fills an empty
cache, which the second one finds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

SIDE, CLASSES = 32, 20
TRAIN = ("train", "--image-size", str(SIDE), "--weights", "bundled")
COMMANDS = {
    "inspect": ("inspect", "--json"),
    "features": (*TRAIN, "--method", "features"),
    "quick": (*TRAIN, "--effort", "quick"),
}


def main(
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    images: Annotated[int, typer.Option(help="How many, in 20 classes.")] = 200_000,
    only: Annotated[list[str], typer.Option(help="Some of the commands.")] = tuple(COMMANDS),
) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFER_CACHE"] = f"{folder}/cache"
        source = write_images(Path(folder) / "images", images)
        for name in only:
            run = () if name == "inspect" else ("--out", f"{folder}/{name}")
            rows.append({"command": name, "images": images, **measure(source, COMMANDS[name], run)})
            if run:
                rows[-1] |= described(Path(folder, name))
            print(json.dumps(rows[-1]), flush=True)
    # imports torch: a child's peak memory is at least that of its parent when it was started
    from examples.benchmarks.steps import machine

    out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def write_images(folder: Path, images: int) -> Path:
    """Class folders of JPEGs: noise over a colour that belongs to the class."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 120, (SIDE + 480, SIDE + 480, 3), dtype=np.uint8)
    for label in range(CLASSES):
        (folder / f"class-{label:02}").mkdir(parents=True)
    for number in range(images):
        label = number % CLASSES
        top, left = random.integers(0, 480, 2)
        pixels = noise[top : top + SIDE, left : left + SIDE].copy()
        pixels[..., label % 3] += np.uint8(6 * label)
        Image.fromarray(pixels).save(folder / f"class-{label:02}" / f"{number}.jpg", quality=85)
    return folder


def measure(source: Path, command: tuple[str, ...], run: tuple[str, ...]) -> dict:
    """Wall and processor seconds, and the peak memory, of one process."""
    name, *options = command
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "transfer", name, str(source), *options, *run],
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    return {
        "status": status,
        "seconds": time.monotonic() - started,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_megabytes": used.ru_maxrss / 1000,  # Linux counts in kB
    }


def described(run: Path) -> dict:
    record = json.loads((run / "run.json").read_text())
    return {
        "phases": {phase["name"]: phase["seconds"] for phase in record["phases"]},
        "accuracy": record["result"]["accuracy"],
        "report_kilobytes": (run / "report.json").stat().st_size / 1000,
    }


if __name__ == "__main__":
    typer.run(main)
