import json

import pytest
from filelock import FileLock

from tests.hub_datasets import plain
from tests.hub_server import FRIEND
from transfer.cache.downloads import open_bodies, open_data_sets, open_models
from transfer.cli.main import app
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
    """Fetch a model of that name as a visitor does."""

    def fetch(name: str, size: int = BYTES) -> ModelFiles:
        hub.add("models", f"ann/{name}", {"config.json": b"{}", TENSORS: b"x" * size})
        found = find_model(parse_address(f"ann/{name}"), False)
        with found.in_use():
            found.fetch("config.json")
            found.fetch(TENSORS)
        return found

    return fetch


def kept() -> list[str]:
    return [entry.path.name.rpartition("--")[2] for entry in open_models().entries()]


def told(capsys, *options: str) -> dict:
    app(["cache", "--json", *options], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_the_model_least_recently_used_makes_room_for_another(fetch):
    for name in ("a", "b", "a", "c"):
        fetch(name)
    assert kept() == ["a", "c"]
    assert open_models().bytes <= open_models().limit


def test_a_model_in_use_stays_and_another_goes(fetch):
    with fetch("a").in_use():
        fetch("b")
        fetch("c")
        assert kept() == ["a", "c"]


def test_a_model_larger_than_the_bound_is_told_and_the_others_stay(fetch):
    fetch("a")
    with pytest.raises(CacheError, match="expected room for a model of 1 MB"):
        fetch("large", 1_000_000)
    assert "a" in kept()


def test_what_was_fetched_is_listed_and_cleared(fetch, capsys):
    fetch("a")
    bodies = open_bodies().folder
    (bodies / "1f.safetensors").write_bytes(b"tensors")
    (bodies / "k.json").write_text('{"sha256": "1f", "repository": "timm/x", "commit": "0"}')
    found = told(capsys)
    assert found["models"]["entries"][0]["what"] == "the model ann/a"
    assert found["models"]["bytes"] >= BYTES and found["models"]["limit_bytes"] == 250_000
    assert found["bodies"]["entries"][0]["what"] == "the body of timm/x"
    assert (found["bytes"], found["entries"]) == (0, [])
    cleared = told(capsys, "--clear")
    assert cleared["removed_bytes"] == found["models"]["bytes"] + len(b"tensors")
    assert cleared["models"]["entries"] == cleared["bodies"]["entries"] == []


def test_what_is_in_use_or_still_coming_is_not_cleared(fetch, capsys):
    bodies = open_bodies().folder
    for name in ("coming", "left"):
        (bodies / f"{name}.part").write_bytes(b"ten")
        (bodies / f"{name}.part.json").write_text("{}")
    with fetch("a").in_use(), FileLock(bodies / "coming.lock"):
        told(capsys, "--clear")
    assert kept() == ["a"]
    left = sorted(path.name for path in bodies.glob("*.part*"))
    assert left == ["coming.part", "coming.part.json"]


@pytest.fixture
def private(hub, monkeypatch):
    """The name of a private data set of three images, with a token for it."""
    hub.add("datasets", "ann/secret", {"train.parquet": plain(0, 1, 1)}, private=True)
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    return "ann/secret"


def test_images_of_a_private_set_are_listed_and_cleared(private, capsys, cache):
    assert open_hub(private).counts() == {"train": 3}
    (cache / "taken" / "stray").write_bytes(b"not ours")
    found = told(capsys)
    (entry,) = found["datasets"]["entries"]
    assert entry["what"].startswith("3 images of hub:ann/secret at ")
    assert found["datasets"].keys() == found["models"].keys()
    assert 0 < found["datasets"]["bytes"] < found["datasets"]["limit_bytes"] == 500_000
    cleared = told(capsys, "--clear")
    assert cleared["removed_bytes"] == found["datasets"]["bytes"]
    assert cleared["datasets"]["entries"] == []
    assert not list((cache / "taken").rglob("*.bin"))


def test_the_list_for_people_names_all_kinds(private, fetch, capsys):
    fetch("a")
    open_hub(private)
    app(["cache"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "the model ann/a" in out and "3 images of hub:ann/secret" in out
    for folder in ("/features:", "/models:", "/taken:", "/hub:"):
        assert out.count(folder) == 1


def test_images_in_use_are_not_cleared(private, capsys):
    images = open_hub(private)
    app(["cache", "--clear"], standalone_mode=False)
    assert "removed 0 MB; 1 in use, not removed" in capsys.readouterr().out
    assert images.splits["train"].read(2)
    del images
    told(capsys, "--clear")
    assert open_data_sets().entries() == []
