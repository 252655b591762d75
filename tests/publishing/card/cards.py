"""Runs with other records than they have, and cards written for them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from transfer.publishing.bundle import Bundle
from transfer.publishing.card import write_card
from transfer.runs.run import Run

REPOSITORY = "someone/stripes"


def edited(run: Run, *, report: dict | None = None, body: dict | None = None, **record) -> Run:
    """The run with other values in its record and report."""
    record = json.loads(json.dumps(run.record)) | record
    record["body"] |= body or {}
    return replace(run, record=record, report=run.report | (report or {}))


def with_classes(run: Run, names: tuple[str, ...]) -> Run:
    """As if it knew these classes, each sometimes predicted as the next."""
    number = len(names)
    classes = [
        {"label": name, "precision": 0.5, "recall": 0.5, "f1": i / number, "support": 2}
        for i, name in enumerate(names)
    ]
    rows = [[0] * number for _ in range(min(number, 50))]
    for i, row in enumerate(rows):
        row[i], row[(i + 1) % number] = 1, 1
    rows += [[0] * number] * (number - len(rows))
    report = {"classes": classes, "confusion": rows, "mistakes": [], "images": 2 * number}
    return edited(run, report=report, classes=list(names))


def card_of(run: Run | None, folder: Path, what: str = "head", classes=(), **options) -> str:
    """The text of a card written for the run, or for an exported folder with these classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in run.path.iterdir() if run else ():
        shutil.copy(path, folder)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    classes = run.classes if run else classes
    bundle = Bundle(folder=folder, what=what, files=files, run=run, classes=classes)
    write_card(bundle, REPOSITORY, **{"source_is_public": False} | options)
    return (folder / "README.md").read_bytes().decode("utf-8", "surrogateescape")
