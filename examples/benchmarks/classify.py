"""One upload classified: this package, and the transformers pipeline on the same network.

    python -m examples.benchmarks.classify PHOTOS --out classify.json

Trains a run on a folder of class folders, exports it, and classifies the folder's JPEG files with
both, in one process and in turns, each a file's path at a time.
"""

import itertools
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import transfer
from examples.benchmarks.steps import machine
from transfer.publishing.export import export

IMAGE_SIZE = 224
WARM_CALLS = 5


def main(
    photos: Annotated[Path, typer.Argument(help="A folder of class folders with JPEG files.")],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    calls: Annotated[int, typer.Option(min=1, help="How many each, after the warm-up.")] = 30,
) -> None:
    from transformers import pipeline

    paths = some_jpegs(photos, calls)
    with tempfile.TemporaryDirectory() as folder:
        run = trained(photos, Path(folder) / "run")
        exported = export(run, Path(folder) / "exported")
        ours = transfer.load(run.path).classify
        theirs = pipeline("image-classification", model=str(exported))
        found = compared(ours, lambda path: theirs(str(path)), paths)
    found = {
        "image_size": IMAGE_SIZE,
        "classes": len(run.classes),
        "files": len(set(paths)),
        "threads": torch.get_num_threads(),
        "transformers_version": version("transformers"),
    } | found
    out.write_text(json.dumps({"machine": machine(), **found}, indent=1))
    print(json.dumps({k: v for k, v in found.items() if not k.endswith("seconds")}, indent=1))


def some_jpegs(folder: Path, calls: int) -> list[Path]:
    """As many as there are calls, spread over the folder; once more where it has fewer."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise typer.BadParameter(f"expected JPEG files in {folder.name}, found none")
    spread = [found[i] for i in np.linspace(0, len(found) - 1, min(calls, len(found))).astype(int)]
    return list(itertools.islice(itertools.cycle(spread), calls))


def trained(photos: Path, out: Path) -> transfer.Run:
    """How well it classifies does not matter here."""
    return transfer.train(
        str(photos),
        out=out,
        weights="bundled",
        image_size=IMAGE_SIZE,
        views=1,
        head="avg-256",
        head_epochs=1,
        unfreeze="none",
        limit_per_class=20,
    )


def compared(ours, theirs, paths: list[Path]) -> dict:
    """Both on each path, one after the other; `times` is how many times longer theirs takes."""
    for path in paths[:WARM_CALLS]:
        for classify in (ours, theirs):
            classify(path)
    seconds, differences = {"transfer": [], "transformers": []}, []
    for i, path in enumerate(paths):
        answers = {}
        pair = [("transfer", ours), ("transformers", theirs)]
        for name, classify in pair if i % 2 else reversed(pair):
            started = time.perf_counter()
            answers[name] = classify(path)
            seconds[name].append(time.perf_counter() - started)
        differences.append(apart(*answers.values()))
    p50 = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "calls": len(paths),
        "p50_ms": {name: 1000 * value for name, value in p50.items()},
        "times": p50["transformers"] / p50["transfer"],
        "largest_score_difference": max(differences),
        "seconds": seconds,
    }


def apart(one: list, other: list) -> float:
    """The largest difference of a score, over the classes that both name."""
    one, other = by_label(one), by_label(other)
    return max(abs(one[label] - other[label]) for label in one.keys() & other.keys())


def by_label(answer: list) -> dict[str, float]:
    """Both answer with labels and scores, one in objects, the other in dicts."""
    rows = [row if isinstance(row, dict) else vars(row) for row in answer]
    return {row["label"]: row["score"] for row in rows}


if __name__ == "__main__":
    typer.run(main)
