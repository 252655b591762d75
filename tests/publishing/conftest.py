"""Fixtures of everything that publishes: a Hub to write to, a run to send, short waits."""

import shutil
from pathlib import Path

import pytest

from tests.hub_writing import writable
from tests.publishing.sending import Clock, contents, save_tensors
from transfer.publishing import retry
from transfer.publishing.bundle import Bundle
from transfer.runs.run import read_run


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits that take no time, ours and those of huggingface_hub's own retries."""
    monkeypatch.setattr(retry, "WAIT_SECONDS", 0.002)
    monkeypatch.setattr(retry, "TICK_SECONDS", 0.002)
    monkeypatch.setattr("huggingface_hub.utils._http.time", Clock())
    monkeypatch.setattr("huggingface_hub.file_download.time", Clock())


@pytest.fixture
def writing(hub):
    """A Hub that holds nothing yet and can be written to."""
    hub.repositories.clear()
    with writable(hub) as writing:
        yield writing


@pytest.fixture
def small(run, tmp_path, monkeypatch):
    """A run whose files are small, published as they are; what the bundle and the card do with a
    real one is not what is tested."""
    folder = Path(shutil.copytree(run.path, tmp_path / "small"))
    save_tensors(folder / "model.safetensors")

    def write_bundle(_, what, target, public=False):
        shutil.copytree(folder, target, dirs_exist_ok=True)
        sizes = {name: len(data) for name, data in contents(folder).items()}
        return Bundle(
            folder=target, what=what, files=sizes, run=read_run(folder), classes=run.classes
        )

    def write_card(bundle, repository, *, previous=None, **_):
        (bundle.folder / "README.md").write_text(previous or f"---\ntags: [x]\n---\n# {repository}")

    monkeypatch.setattr("transfer.publishing.bundle.write_bundle", write_bundle)
    monkeypatch.setattr("transfer.publishing.card.write_card", write_card)
    return folder
