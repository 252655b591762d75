"""What each step bought on the same test images: features only, warm-up, fine-tune.

    python -m examples.benchmarks.steps SOURCE... --out steps.json

Trains every source with the bundled and with a random body, over several seeds, and writes one
dated JSON with the machine, the versions and every figure.
"""

import datetime
import json
import os
import platform
import re
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import transfer
from transfer.training.history import library_versions

STAGES = ("features", "warm-up", "fine-tune")


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    seeds: Annotated[int, typer.Option(help="How many, from 0 up.")] = 3,
    weights: Annotated[list[str], typer.Option(help="Bodies to compare.")] = ("bundled", "random"),
) -> None:
    rows = []
    for source in sources:
        for body in weights:
            rows.append(measure(source, body, seeds))
            print(described(rows[-1]), flush=True)
            out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(source: str, weights: str, seeds: int) -> dict:
    """Every seed's accuracies a stage, on validation and test, and its seconds."""
    runs = [train(source, weights, seed) for seed in range(seeds)]
    stages = [run.report["stages"] for run in runs]
    return {
        "source": Path(source).name,
        "weights": weights,
        "images": runs[0].record["result"]["images"],
        "settings": runs[0].record["settings"],
        "seconds": [run.record["result"]["seconds"] for run in runs],
        "peak_rss_bytes": max(run.record["result"]["peak_rss_bytes"] for run in runs),
        "test": {name: [s[name]["accuracy"] for s in stages] for name in STAGES},
        "validation": {name: [s[name]["validation_accuracy"] for s in stages] for name in STAGES},
    }


def train(source: str, weights: str, seed: int) -> transfer.Run:
    with tempfile.TemporaryDirectory() as folder:
        return transfer.train(source, out=Path(folder) / "run", weights=weights, seed=seed)


def described(row: dict) -> str:
    steps = ", ".join(f"{name} {spread(row['test'][name])}" for name in STAGES)
    return f"{row['source']}, {row['weights']}: {steps}; {spread(row['seconds'], 0)} s"


def spread(values: list[float], digits: int = 3) -> str:
    return (
        f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to "
        f"{max(values):.{digits}f})"
    )


def machine() -> dict:
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": library_versions(),
    }


def processor() -> str:
    """Its name where Linux tells it, and whether it has AMX, on which peers are twice as fast."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return (name[1] if name else platform.machine()) + (", AMX" if "amx_tile" in text else "")


if __name__ == "__main__":
    typer.run(main)
