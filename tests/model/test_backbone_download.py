import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tests import hub_server
from tests.tiny import drained
from transfer import hub as hub_module
from transfer.errors import CacheError, WeightsError
from transfer.events import BodyProgress
from transfer.model import backbone_download
from transfer.model.backbone_download import BodyFile, download_body, find_cached_body

NAME, FILE = "timm/part.tv_in1k", "model.safetensors"
PIECE, HEADER_BYTES = 2**18, 100_001
BODY = {f"features.{n}.weight": np.full((2, 65_536), n, dtype=np.float32) for n in range(3)}
BODY_BYTES = sum(tensor.nbytes for tensor in BODY.values())
OTHERS = {"before": np.zeros(500_000), "pre_logits.fc1": np.zeros(250_000)}
CONTENT = save(BODY | OTHERS)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Small pieces, an empty Hub cache, and a Hub that is given up within a second."""
    monkeypatch.setattr(backbone_download, "PIECE_BYTES", PIECE)
    monkeypatch.setattr(backbone_download, "LOCK_SECONDS", 0.01)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(hub_module, "PING_SECONDS", 0.05)


@pytest.fixture
def repository(hub):
    hub.served.clear()
    return hub.add("models", NAME, {FILE: CONTENT})


def download(revision: str | None = None) -> BodyFile:
    return drained(download_body(NAME, revision))[1]


def refusal(call=download, *args, kind=WeightsError) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message and "/tmp" not in message and "http" not in message
    return message


def is_body(file: BodyFile) -> bool:
    found = load_file(file.path)
    return found.keys() == BODY.keys() and all((found[n] == BODY[n]).all() for n in BODY)


def sent(hub) -> int:
    return sum(count for path, count in hub.served if path == FILE)


def test_only_the_body_is_downloaded_and_then_found_without_the_hub(repository, hub, cache):
    assert find_cached_body(NAME) is None
    events, file = drained(download_body(NAME))
    assert is_body(file) and file.commit == repository.sha
    assert sent(hub) <= BODY_BYTES + HEADER_BYTES + 8 < len(CONTENT) / 2
    done = [0, *range(PIECE, BODY_BYTES, PIECE), BODY_BYTES]
    assert sorted({event.done_bytes for event in events}) == done
    assert events[-1] == BodyProgress(done_bytes=BODY_BYTES, total_bytes=BODY_BYTES)
    assert file.path.parent.stat().st_mode & 0o077 == 0
    with hub.gone():
        assert find_cached_body(NAME) == find_cached_body(NAME, file.commit) == file
        assert find_cached_body(NAME, "0" * 40) is None and find_cached_body("timm/x") is None


def test_a_new_commit_is_downloaded_and_the_old_one_stays(repository, hub):
    old = download()
    hub.add("models", NAME, {FILE: save({name: tensor + 1 for name, tensor in BODY.items()})})
    new = download()
    assert find_cached_body(NAME) == new and find_cached_body(NAME, old.commit) == old
    assert (load_file(new.path)["features.0.weight"] == 1).all()


def test_a_body_that_an_earlier_version_downloaded_is_found(repository, cache):
    file = download()
    (record,) = file.path.parent.glob("*.json")
    known = json.loads(record.read_text())
    known |= {"filename": FILE, "version": "main", "prefix": "features."}
    record.rename(record.with_name("1f" * 16 + ".json")).write_text(json.dumps(known))
    assert find_cached_body(NAME) == find_cached_body(NAME, file.commit) == file


@pytest.mark.parametrize("damage", ["file", "record", "gone"])
def test_a_damaged_body_is_downloaded_again(repository, damage):
    file = download()
    if damage == "gone":
        file.path.unlink()
    elif damage == "file":
        content = bytearray(file.path.read_bytes())
        content[-1] ^= 1
        file.path.write_bytes(content)
    else:
        for record in file.path.parent.glob("*.json"):
            record.write_text('{"commit": "x"')
    assert find_cached_body(NAME) is None
    assert is_body(download())


def test_two_downloads_at_once_fetch_the_body_once(repository, hub):
    first, second = download_body(NAME), download_body(NAME)
    next(first)
    for _ in range(2):
        assert next(second) == BodyProgress(done_bytes=0, total_bytes=BODY_BYTES)
    file = drained(first)[1]
    assert drained(second)[1] == file
    assert sent(hub) <= BODY_BYTES + 2 * (HEADER_BYTES + 8)


def test_a_hub_that_goes_away_is_given_up_and_leaves_nothing_half_done(repository, hub):
    steps = download_body(NAME)
    next(steps)
    with hub.gone():
        assert "the Hub does not answer" in refusal(list, steps)
    assert find_cached_body(NAME) is None
    assert is_body(download())
    suffixes = {path.suffix for path in find_cached_body(NAME).path.parent.iterdir()}
    assert suffixes == {".json", ".safetensors", ""}  # and the folder of locks


def test_what_is_missing_on_the_hub_is_named(repository, hub):
    assert "nobody/here" in refusal(drained, download_body("nobody/here"))
    assert NAME in refusal(download, "0" * 40)
    hub.add("models", NAME, {"README.md": b""})
    assert NAME in refusal()


def test_a_full_disk_is_one_sentence(repository, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in refusal(kind=CacheError)


def test_a_mirror_without_ranges_gives_the_complete_file(repository, hub, cache, monkeypatch):
    send_range = hub_server._Handler.send_range

    def send_all(handler, *args):
        del handler.headers["Range"]
        return send_range(handler, *args)

    monkeypatch.setattr(hub_server._Handler, "send_range", send_all)
    file = download()
    assert file.path.read_bytes() == CONTENT and not file.path.is_relative_to(cache)
    with hub.gone():
        found = find_cached_body(NAME)
    assert (found.path, found.commit) == (file.path, repository.sha)
    assert found.where == "the local Hub cache"


@pytest.mark.parametrize(
    "content",
    [
        save({"features.0": np.zeros(9), "head": np.zeros(9), "features.1": np.zeros(9, "f4")}),
        save({"head": np.zeros(9)}),
        b"<!DOCTYPE html>",
        b"\xff" * 5000,
    ],
    ids=["other tensors in between", "no body", "a web page", "noise"],
)
def test_a_file_whose_body_is_not_in_one_piece_is_downloaded_complete(hub, content):
    hub.add("models", NAME, {FILE: content})
    assert download().path.read_bytes() == content
