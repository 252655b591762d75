"""What each step bought on the same test images, and whether the forecast of its time was right.

    python -m examples.benchmarks.steps SOURCE... --out steps.json --effort quick --effort balanced

Trains every source at every effort with every optimizer over several seeds, each time with an empty
cache, and writes one JSON with the machine, the versions and every figure.
"""

import datetime
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import typer

import transfer
from transfer.data.source import load_splits, summarize
from transfer.jobs.worker import import_needed
from transfer.settings import TrainingSettings
from transfer.training.benchmark import measure_again
from transfer.training.forecast import forecast
from transfer.training.history import library_versions

STAGES = ("features", "warm-up", "fine-tune")


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    seeds: Annotated[int, typer.Option(help="How many, from 0 up.")] = 3,
    effort: Annotated[list[str], typer.Option(help="Efforts to compare.")] = ("balanced",),
    optimizer: Annotated[list[str], typer.Option(help="Optimizers to compare.")] = ("adamw",),
) -> None:
    import_needed()
    rows = []
    for source, name, rule in itertools.product(sources, effort, optimizer):
        settings = TrainingSettings.from_options(effort=name, optimizer=rule, weights="bundled")
        rows.append(measure(source, settings, seeds))
        print(described(rows[-1]), flush=True)
        out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(source: str, settings: TrainingSettings, seeds: int) -> dict:
    """Every seed's accuracies a stage, on validation and test, and its seconds."""
    images = load_splits(source, settings)
    foretold = forecast(measure_again(), settings, summarize(images), images.counts())
    runs, seconds = [], []
    for seed in range(seeds):
        started = time.monotonic()
        runs.append(train(source, replace(settings, seed=seed)))
        seconds.append(time.monotonic() - started)
    stages = [run.report["stages"] for run in runs]
    return {
        "source": Path(source).name,
        "effort": settings.effort,
        "optimizer": settings.warm_up.optimizer,
        "images": images.counts(),
        "settings": runs[0].record["settings"],
        "foretold": foretold,
        "seconds": seconds,
        "peak_rss_bytes": max(run.record["result"]["peak_rss_bytes"] for run in runs),
        "test": {name: [s[name]["accuracy"] for s in stages if name in s] for name in STAGES},
        "validation": {
            name: [s[name]["validation_accuracy"] for s in stages if name in s] for name in STAGES
        },
    }


def train(source: str, settings: TrainingSettings) -> transfer.Run:
    """With an empty cache, as on the first time."""
    folder = Path(tempfile.mkdtemp())
    try:
        with patch.dict(os.environ, TRANSFER_CACHE=str(folder / "cache")):
            return transfer.train(source, out=folder / "run", settings=settings)
    finally:
        shutil.rmtree(folder)


def described(row: dict) -> str:
    steps = ", ".join(f"{name} {spread(found)}" for name, found in row["test"].items() if found)
    return (
        f"{row['source']}, {row['effort']}, {row['optimizer']}: {steps}; "
        f"{spread(row['seconds'], 0)} s, {sum(row['foretold'].values()):.0f} s foretold"
    )


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
