"""README.md of an exported folder."""

import json
from pathlib import Path

from transfer.inference.onnx_format import FACTS, MODEL
from transfer.publishing.card.escape import as_text, listed
from transfer.publishing.card.license import source_link
from transfer.publishing.card.render import render
from transfer.runs.run import Run

TEMPLATE = Path(__file__).with_name("readme.md")


def readme(run: Run, folder: Path, license: str) -> str:
    """About a folder with a model and model.json, as Markdown. `license` is Markdown."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    more = {
        "title": as_text(facts["name"]),
        "class_names": listed(run.classes),
        "source": source_link(run),
        "megabytes": round((folder / MODEL).stat().st_size / 1e6, 1),
        "made_with": ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "license": license,
    }
    return render(TEMPLATE, facts | more)
