"""Is it enough to keep a few augmented views of every image? Warm-up on 1, 4 and 40 of them.

    python -m examples.benchmarks.views SOURCE... --out views.json

One view is no augmentation; 40 views, one drawn anew for each image in each of 40 epochs, stand for
fresh augmentation in every epoch. The head is the same, the rest of the settings is left open.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import transfer
from examples.benchmarks.heads import best_loss
from examples.benchmarks.steps import machine, spread

EPOCHS = 40


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    views: Annotated[list[int], typer.Option(help="Views an image.")] = (1, 4, EPOCHS),
    seeds: Annotated[int, typer.Option(help="How many, from 0 up.")] = 3,
    limit_per_class: Annotated[int | None, typer.Option(help="Images a class and split.")] = None,
) -> None:
    rows = []
    for source in sources:
        for number in views:
            rows.append(measure(source, number, seeds, limit_per_class))
            print(
                f"{source}, {number} views: test {spread(rows[-1]['test'])}, validation loss "
                f"{spread(rows[-1]['validation_loss'])}",
                flush=True,
            )
            out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(source: str, views: int, seeds: int, limit: int | None) -> dict:
    runs = [train(source, views, seed, limit) for seed in range(seeds)]
    return {
        "source": Path(source).name,
        "views": views,
        "images": runs[0].record["result"]["images"],
        "test": [run.report["stages"]["warm-up"]["accuracy"] for run in runs],
        "validation_loss": [best_loss(run) for run in runs],
        "cache_seconds": [run.record["phases"][0]["seconds"] for run in runs],
    }


def train(source: str, views: int, seed: int, limit: int | None) -> transfer.Run:
    with tempfile.TemporaryDirectory() as folder:
        return transfer.train(
            source,
            out=Path(folder) / "run",
            views=views,
            seed=seed,
            weights="bundled",
            head="avg-256",
            head_epochs=EPOCHS,
            unfreeze="none",
            limit_per_class=limit,
        )


if __name__ == "__main__":
    typer.run(main)
