"""A Hub to publish to, a small run to publish, short pauses."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.hub_writing import writable
from tests.publishing.sending import save_tensors
from transfer.publishing import retry
from transfer.publishing.bundle import Bundle
from transfer.runs.run import read_run


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retry, "PAUSES", (0.002, 0.004))
    monkeypatch.setattr(retry, "TICK_SECONDS", 0.002)
    clock = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.005)))
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)  # for its own retries


@pytest.fixture
def writing(hub):
    """A Hub that holds nothing yet and can be written to."""
    hub.repositories.clear()
    with writable(hub) as writing:
        yield writing


@pytest.fixture
def small(run, tmp_path, monkeypatch):
    """A run with small files, published as they are: bundle and card have tests of their own."""
    folder = Path(shutil.copytree(run.path, tmp_path / "small"))
    save_tensors(folder / "model.safetensors")

    def write_bundle(_run, what, target, **_):
        shutil.copytree(folder, target, dirs_exist_ok=True)
        known = {"run": read_run(folder), "classes": run.classes}
        return Bundle(folder=target, what=what, files={}, **known)

    def write_card(bundle, repository, *, previous=None, **_):
        (bundle.folder / "README.md").write_text(previous or f"---\ntags: [x]\n---\n# {repository}")

    monkeypatch.setattr("transfer.publishing.publisher.write_bundle", write_bundle)
    monkeypatch.setattr("transfer.publishing.card.write_card", write_card)
    return folder
