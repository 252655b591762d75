import json

import pytest
from filelock import FileLock

from tests.hub_datasets import plain
from tests.hub_server import FRIEND
from transfer.cache.downloads import open_bodies, open_datasets, open_models
from transfer.cli.main import app
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.dataset import open_hub
from transfer.errors import CacheError
from transfer.inference.hub_files import ModelFiles, find_model, parse_address

TENSORS, BYTES = "model.safetensors", 100_000
ROOM_FOR_TWO_GB = "0.001"  # of which models get a quarter


@pytest.fixture(autouse=True)
def small(cache, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", ROOM_FOR_TWO_GB)


@pytest.fixture
def fetch(hub):
    """Download a model of that name as a visitor does."""

    def fetch(name: str, size: int = BYTES) -> ModelFiles:
        hub.add("models", f"ann/{name}", {"config.json": b"{}", TENSORS: b"x" * size})
        found = find_model(parse_address(f"ann/{name}"), False)
        with found.in_use():
            found.fetch("config.json")
            found.fetch(TENSORS)
        return found

    return fetch


@pytest.fixture
def private(hub, monkeypatch):
    """The name of a private dataset of three images, with a token for it."""
    hub.add("datasets", "ann/secret", {"train.parquet": plain(0, 1, 1)}, private=True)
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    return "ann/secret"


def cached_models() -> list[str]:
    return [entry.path.name.rpartition("--")[2] for entry in open_models().entries()]


def listed(capsys, *options: str) -> dict:
    app(["cache", "--json", *options], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_the_least_recently_used_model_makes_room_for_another(fetch):
    for name in ("a", "b", "a", "c"):
        fetch(name)
    assert cached_models() == ["a", "c"]
    assert open_models().bytes <= open_models().limit
    with pytest.raises(CacheError, match="expected room for 1 MB of a model"):
        fetch("large", 1_000_000)
    assert "a" in cached_models()


def test_a_model_in_use_stays(fetch, capsys):
    with fetch("a").in_use():
        fetch("b")
        fetch("c")
        assert cached_models() == ["a", "c"]
        listed(capsys, "--clear")
    assert cached_models() == ["a"]


def test_all_downloads_are_listed_and_cleared(fetch, private, capsys, cache):
    fetch("a")
    bodies = open_bodies().folder
    (bodies / "1f.safetensors").write_bytes(b"tensors")
    (bodies / "k.json").write_text('{"sha256": "1f", "repository": "timm/x", "commit": "0"}')
    assert open_hub(private, LoadOptions()).counts() == {"train": 3}
    (cache / "datasets" / "stray").write_bytes(b"not ours")
    app(["cache"], standalone_mode=False)
    out = capsys.readouterr().out
    texts = ("the model ann/a", "the body of timm/x", "3 images of hub:ann/secret at ")
    assert all(out.count(text) == 1 for text in (*texts, "/features:", "/models:", "/datasets:"))
    found = listed(capsys)
    assert found["models"]["bytes"] >= BYTES and found["models"]["limit_bytes"] == 250_000
    assert 0 < found["datasets"]["bytes"] < found["datasets"]["limit_bytes"] == 500_000
    assert (found["bytes"], found["entries"]) == (0, [])
    cleared = listed(capsys, "--clear")
    kinds = ("models", "datasets", "bodies")
    assert cleared["removed_bytes"] == sum(found[kind]["bytes"] for kind in kinds)
    assert all(cleared[kind]["entries"] == [] for kind in kinds)
    assert not list((cache / "datasets").rglob("*.bin"))


def test_a_body_that_is_being_downloaded_is_not_cleared(capsys):
    bodies = open_bodies().folder
    for name in ("timm--a.tv--1", "timm--b.tv--1"):
        (bodies / f"{name}.part").write_bytes(b"ten")
    with FileLock(bodies / "locks" / "timm--a.tv--1.part.lock"):
        found = listed(capsys, "--clear")
    assert [entry["what"] for entry in found["bodies"]["entries"]] == ["a body, not all of it yet"]
    assert [path.name for path in bodies.glob("*.part")] == ["timm--a.tv--1.part"]


def test_images_in_use_are_not_cleared(private, capsys):
    images = open_hub(private, LoadOptions())
    app(["cache", "--clear"], standalone_mode=False)
    assert "removed 0 MB; 1 in use" in capsys.readouterr().out
    assert images.splits["train"].read(2)
    del images
    listed(capsys, "--clear")
    assert open_datasets().entries() == []
