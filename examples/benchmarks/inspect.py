"""How many planted copies `inspect` finds, its false alarms, its seconds and its memory.

    python -m examples.benchmarks.inspect SOURCE... --out inspect.json

Each source has a train and a test split. What is found alike in it as it stands is listed for the
eye: all of it counts as a false alarm, also where the source does hold a picture twice. Then
copies of training pictures are put among those of the test: resized to 50 to 150 %, saved anew as
JPEG of quality 40 to 90, or both. Time and memory are those of the command line on generated JPEGs.
"""

import io
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from PIL import Image

from examples.benchmarks.steps import machine
from transfer.data.checks.scan import ScanResult
from transfer.data.dataset import ImageDataset, Split
from transfer.data.image import load_image
from transfer.data.source import open_dataset
from transfer.settings import TrainingSettings

CLASSES = 10
SECONDS_BETWEEN_LOOKS = 0.05


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    copies: Annotated[int, typer.Option(help="Planted in each source.")] = 100,
    images: Annotated[int, typer.Option(help="Generated for time and memory.")] = 10_000,
    side: Annotated[int, typer.Option(help="Pixels a side of those.")] = 300,
) -> None:
    found = {"machine": machine(), "copies": [], "speed": None}
    for source in sources:
        found["copies"].append(planted(open_dataset(source, TrainingSettings()), copies))
        print(json.dumps(found["copies"][-1], indent=1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images, side)
        found["speed"] = {"images": images, "side": side, **timed(Path(folder))}
    print(json.dumps(found["speed"]), flush=True)
    out.write_text(json.dumps(found, indent=1))


def planted(images: ImageDataset, copies: int) -> dict:
    """How many copies share a group with what they were made of, and what did so before."""
    seen, groups = looked_at(images)
    train, test = images.splits["train"], images.splits["test"]
    draw = random.Random(0)
    rows = draw.sample(range(len(train)), copies)
    made = [
        copied(load_image(train.read(row)), number % 3, draw) for number, row in enumerate(rows)
    ]
    more, again = looked_at(
        images.with_splits({"train": train, "test": joined(test, made, rows, train)})
    )
    pairs = [(row, len(train) + len(test) + at) for at, row in enumerate(rows)]
    group_of = {row: at for at, group in enumerate(again) for row in group.tolist()}
    hit = [one in group_of and group_of[one] == group_of.get(other) for one, other in pairs]
    return {
        "source": Path(images.source).name,
        "images": len(seen),
        "copies": copies,
        "found": sum(hit),
        "missed": [
            f"{train.names[rows[at]]} ({('resized', 'saved anew', 'both')[at % 3]})"
            for at in range(copies)
            if not hit[at]
        ],
        "false_alarms": sum(len(group) for group in groups) / len(seen),
        "alike_before": [[seen.name(row) for row in group] for group in groups],
        "groups_with_copies": len(again),
        "compared": more.prints.compared(),
    }


def looked_at(images: ImageDataset) -> tuple[ScanResult, list[np.ndarray]]:
    seen = ScanResult(images)
    for _ in seen.run():
        pass
    return seen, seen.prints.groups()[0]


def copied(image: Image.Image, kind: int, draw: random.Random) -> bytes:
    scale = draw.uniform(0.5, 1.5) if kind in (0, 2) else 1
    quality = draw.randint(40, 90) if kind in (1, 2) else None
    size = [max(1, round(side * scale)) for side in image.size]
    resampling = draw.choice([Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
    file = io.BytesIO()
    image = image.resize(size, resampling) if scale != 1 else image
    image.save(file, "JPEG", quality=quality) if quality else image.save(file, "PNG")
    return file.getvalue()


def joined(test: Split, made: list[bytes], rows: list[int], train: Split) -> Split:
    return replace(
        test,
        labels=np.concatenate([test.labels, train.labels[rows]]),
        names=(*test.names, *(f"copy of {train.names[row]}" for row in rows)),
        read=lambda i: test.read(i) if i < len(test) else made[i - len(test)],
    )


def write_images(folder: Path, images: int, side: int) -> None:
    """Class folders of JPEGs: coloured blobs with fine noise, no two alike."""
    noise = np.random.default_rng(0).integers(-12, 13, (side, side, 3), dtype=np.int16)
    for number in range(images):
        blobs = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        large = Image.fromarray(blobs).resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(large) + np.roll(noise, number, axis=1), 0, 255)
        target = folder / f"class-{number % CLASSES}" / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(target, quality=85)


def timed(folder: Path) -> dict:
    """Of `python -m transfer inspect` in a process of its own, libraries' loading included."""
    command = [sys.executable, "-m", "transfer", "inspect", str(folder), "--json"]
    started = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = 0
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(process.stdout.read)
        while not told.done():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                peak = max(peak, process.memory_info().rss)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return {
        "seconds": time.monotonic() - started,
        "peak_rss_megabytes": peak / 1e6,
        "groups": json.loads(told.result())["duplicates"]["groups"],
        "status": process.wait(),
    }


if __name__ == "__main__":
    typer.run(main)
