"""What each step bought on the same test images, and whether the forecast of its time was right.

    python -m examples.benchmarks.steps SOURCE... --out steps.json --effort quick --effort balanced

Trains every source at every effort with every optimizer over several seeds, each time with an empty
cache. Every row is written as soon as it is measured; the same command again measures only the rows
that are missing.
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


def main(
    sources: list[str],
    out: Annotated[Path, typer.Option(help="The JSON to write, or to add to.")],
    seed: Annotated[list[int], typer.Option(help="Seeds to train with.")] = (0, 1, 2),
    effort: Annotated[list[str], typer.Option(help="Efforts to compare.")] = ("balanced",),
    optimizer: Annotated[list[str], typer.Option(help="Optimizers to compare.")] = ("adamw",),
) -> None:
    import_needed()
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    for source, one, rule, number in itertools.product(sources, effort, optimizer, seed):
        row = {"source": Path(source).name, "effort": one, "optimizer": rule, "seed": number}
        if any(row.items() <= earlier.items() for earlier in rows):
            continue
        options = {"effort": one, "optimizer": rule, "seed": number, "weights": "bundled"}
        rows.append(row | measure(source, TrainingSettings.from_options(**options)))
        part = out.with_suffix(".part")
        part.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1))
        part.replace(out)
        print(json.dumps(summary(rows)[name_of(row)]), flush=True)


def measure(source: str, settings: TrainingSettings) -> dict:
    """The accuracies of each stage on validation and test, and the seconds forecast and taken."""
    images = load_splits(source, settings)
    expected = forecast(measure_again(), settings, summarize(images), images.counts())
    load, started = os.getloadavg()[0], time.monotonic()
    run = train(source, settings)
    seconds, stages = time.monotonic() - started, run.report["stages"]
    return {
        "images": images.counts(),
        "forecast": expected,
        "seconds": seconds,
        "phases": {phase["name"]: phase["seconds"] for phase in run.record["phases"]},
        "load_before": load,
        "peak_rss_bytes": run.record["result"]["peak_rss_bytes"],
        "test": {name: stage["accuracy"] for name, stage in stages.items()},
        "validation": {name: stage["validation_accuracy"] for name, stage in stages.items()},
        "settings": run.record["settings"],
        "machine": machine(),
    }


def train(source: str, settings: TrainingSettings) -> transfer.Run:
    """With an empty cache, as on the first time."""
    folder = Path(tempfile.mkdtemp())
    try:
        with patch.dict(os.environ, TRANSFER_CACHE=str(folder / "cache")):
            return transfer.train(source, out=folder / "run", settings=settings)
    finally:
        shutil.rmtree(folder)


def name_of(row: dict) -> str:
    return f"{row['source']}, {row['effort']}, {row['optimizer']}"


def summary(rows: list[dict]) -> dict[str, dict]:
    """What was trained → test accuracy of each stage and the seconds, over its seeds."""
    groups = {}
    for row in rows:
        groups.setdefault(name_of(row), []).append(row)
    return {
        name: {
            "test": {
                stage: spread([row["test"][stage] for row in group if stage in row["test"]])
                for stage in group[0]["test"]
            },
            "forecast": sum(group[0]["forecast"].values()),
            "seconds": spread([row["seconds"] for row in group]),
        }
        for name, group in groups.items()
    }


def spread(values: list[float]) -> dict:
    return {
        "runs": len(values),
        "mean": statistics.mean(values),
        "median": statistics.median(values),
        "range": [min(values), max(values)],
    }


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
