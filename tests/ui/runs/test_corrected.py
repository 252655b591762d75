import json
import shutil

import gradio as gr
import pytest

from tests.ui.visitors import ME
from transfer.ui.runs.handlers import RunHandlers

RELABELLED = [{"where": "a.png", "label": "down"}, {"where": "b.png", "leave_out": True}]


@pytest.fixture
def add(runs_folder, tmp_path):
    """Adds a run with these corrections to a folder; returns that folder."""

    def add(name: str, corrections: list, accuracy: float, **record):
        folder = shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / name)
        _change(folder / "report.json", accuracy=accuracy, images=1_000)
        known = json.loads((folder / "run.json").read_bytes())
        settings = known["settings"] | {"corrections": corrections}
        _change(folder / "run.json", settings=settings, **record)
        return tmp_path / "runs"

    return add


def _change(file, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | values))


def shown(handlers: RunHandlers, name: str) -> str:
    return handlers.show(ME, gr.EventData(None, {"run": name}))[0]


def test_a_corrected_run_is_compared_with_the_one_before_it(add, manage):
    add("plain", [], 0.123)
    add("once", RELABELLED[:1], 0.234)
    add("twice", RELABELLED, 0.345)
    handlers = RunHandlers(manage(add("other", [], 0.456, tested_on="other images")))
    plain, once, twice = (shown(handlers, name) for name in ("plain", "once", "twice"))
    assert "Before" not in plain
    assert "12.3%" in once and "1 label was changed, 0 photos were left out" in once
    assert "23.4%" in twice and "12.3%" not in twice and "is the run once" in twice


def test_without_the_same_test_images_there_is_no_comparison(add, manage):
    add("plain", [], 0.123)
    handlers = RunHandlers(manage(add("once", RELABELLED[:1], 0.234, tested_on="other images")))
    assert "Before" not in shown(handlers, "once")
