"""Is the head search worth its time? Fixed heads and `auto`, warm-up only, on the same images.

    python -m examples.benchmarks.heads SOURCE... --out heads.json

Every head, over several seeds: accuracy on validation and test after warm-up, and its seconds.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import transfer
from examples.benchmarks.steps import machine, spread
from transfer.training.defaults import HEAD_SHAPES


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    seeds: Annotated[int, typer.Option(help="How many, from 0 up.")] = 3,
    weights: Annotated[str, typer.Option(help="The body.")] = "bundled",
) -> None:
    rows = []
    for source in sources:
        for head in ("auto", *HEAD_SHAPES):
            rows.append(measure(source, head, seeds, weights))
            print(described(rows[-1]), flush=True)
            out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(source: str, head: str, seeds: int, weights: str) -> dict:
    runs = [train(source, head, seed, weights) for seed in range(seeds)]
    stages = [run.report["stages"]["warm-up"] for run in runs]
    return {
        "source": Path(source).name,
        "head": head,
        "chosen": [run.settings.head.name for run in runs],
        "test": [stage["accuracy"] for stage in stages],
        "validation": [stage["validation_accuracy"] for stage in stages],
        "validation_loss": [best_loss(run) for run in runs],
        "tried_seconds": [sum(row["seconds"] for row in run.report["heads"]) for run in runs],
        "warm_up_seconds": [run.record["phases"][2]["seconds"] for run in runs],
    }


def best_loss(run: transfer.Run) -> float:
    return min(epoch["validation_loss"] for epoch in run.report["curves"]["warm-up"])


def train(source: str, head: str, seed: int, weights: str) -> transfer.Run:
    with tempfile.TemporaryDirectory() as folder:
        return transfer.train(
            source, out=Path(folder) / "run", head=head, seed=seed, weights=weights, unfreeze="none"
        )


def described(row: dict) -> str:
    return (
        f"{row['source']}, {row['head']}: test {spread(row['test'])}, validation "
        f"{spread(row['validation'])}, warm-up {spread(row['warm_up_seconds'], 1)} s, "
        f"search {spread(row['tried_seconds'], 1)} s, {row['chosen']}"
    )


if __name__ == "__main__":
    typer.run(main)
