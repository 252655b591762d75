import errno
import stat
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.hub_server import FRIEND, STRANGER
from tests.inference.conftest import refused
from transfer.inference.hub_files import Address, find_model, parse_address

CONFIG, TENSORS = "config.json", "model.safetensors"
MODEL = {CONFIG: b"{}", TENSORS: b"tensors", "pytorch_model.bin": b"never"}
MAX_SECONDS = 15  # a few of the deadlines


def find(name: str, token=None):
    return find_model(parse_address(name), token)


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("ann/pets", "ann/pets", None),
        ("ann/pets@refs/pr/3", "ann/pets", "refs/pr/3"),
        ("HTTPS://HuggingFace.co/ann/pets?library=timm#files", "ann/pets", None),
        ("hf.co/ann/pets", "ann/pets", None),
        ("https://huggingface.co/ann/pets/tree/refs%2Fpr%2F3", "ann/pets", "refs/pr/3"),
        ("https://huggingface.co/ann/pets/blob/v1/config.json", "ann/pets", "v1"),
        ("ENDPOINT/ann/pets/tree/v1", "ann/pets", "v1"),
    ],
)
def test_an_address_is_an_id_or_a_link(hub, text, repository, revision):
    address = parse_address(text.replace("ENDPOINT", hub.endpoint))
    assert address == Address(repository=repository, revision=revision)


@pytest.mark.parametrize(
    "text",
    [
        *("", "pets", "/ann/pets", "ann/pets/more", "ann/../pets", "~/pets", "datasets/ann/pets"),
        *("ann/pets@", "ann/pets@../x", "ann/pets@a..b", "ann/pets@a b", "ann/pets\n"),
    ],
)
def test_other_names_are_no_address(text):
    assert parse_address(text) is None


@pytest.mark.parametrize(
    "link",
    [
        *("https://huggingface.co.example.com/ann/pets", "https://hf_secret@example.com/ann/pets"),
        *("file:///etc/passwd", "https://huggingface.co/ann"),
        "https://huggingface.co/datasets/ann/pets",
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(link):
    with refused("found another one" if "datasets" not in link else "one to a dataset"):
        parse_address(link)


def test_needed_files_are_downloaded_once_and_at_one_commit(hub):
    added = hub.add("models", "files/needed", MODEL)
    found = find("files/needed")
    assert found.files == {name: len(data) for name, data in MODEL.items()}
    assert found.fetch(CONFIG, TENSORS).name == added.sha
    hub.served.clear()
    again = find("files/needed").fetch(CONFIG, TENSORS)
    assert hub.served == [] and (again / TENSORS).read_bytes() == b"tensors"
    hub.add("models", "files/needed", MODEL | {TENSORS: b"changed"})
    assert (found.fetch(TENSORS) / TENSORS).read_bytes() == b"tensors"
    assert (find("files/needed").fetch(TENSORS) / TENSORS).read_bytes() == b"changed"
    assert not any("pytorch_model.bin" in request for request in hub.requests)


@pytest.mark.parametrize("mood", ["gone", "silent", "offline"])
def test_without_the_hub_downloaded_files_are_used(hub, monkeypatch, mood, impatient):
    hub.add("models", "files/downloaded", MODEL)
    hub.add("models", "files/never", MODEL)
    find("files/downloaded").fetch(CONFIG, TENSORS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", mood == "offline")
    started = time.monotonic()
    with hub.gone() if mood in ("gone", "offline") else hub.in_mood(mood):
        folder = find("files/downloaded").fetch(CONFIG, TENSORS)
        assert (folder / TENSORS).read_bytes() == b"tensors"
        with refused("OFFLINE is set" if mood == "offline" else "does not answer"):
            find("files/never")
        # a visitor gets nothing: the downloads may be files that only the owner may see
        with refused("OFFLINE is set" if mood == "offline" else "does not answer"):
            find("files/downloaded", False)
    assert time.monotonic() - started < MAX_SECONDS


def test_without_the_hub_a_partial_download_is_not_used(hub):
    hub.add("models", "files/partial", MODEL)
    find("files/partial").fetch(CONFIG)
    with hub.gone(), refused("does not answer"):
        find("files/partial")
    find("files/partial").fetch(CONFIG, TENSORS)
    hub.add("models", "files/partial", MODEL | {CONFIG: b'{"new": 1}'})
    find("files/partial").fetch(CONFIG)  # of a newer commit
    with hub.gone():
        assert (find("files/partial").fetch(CONFIG) / CONFIG).read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("closed", "words"),
    [({"private": True}, "found none called"), ({"gated": "files"}, "terms to be accepted")],
    ids=["private", "gated"],
)
def test_a_closed_one_opens_with_its_token_only_and_stays_out_of_the_shared_cache(
    hub, cache, monkeypatch, closed, words
):
    name = f"files/{next(iter(closed))}"
    hub.add("models", name, MODEL, **closed)
    with monkeypatch.context() as signed_in:
        signed_in.setenv("HF_TOKEN", FRIEND)
        for token in (None, FRIEND):  # of the owner, who runs this, and of a visitor
            found = find(name, token)
            assert FRIEND not in repr(found)
            assert found.fetch(CONFIG, TENSORS).is_relative_to(cache / "private")
        with refused(words):
            find(name, False)
    assert stat.S_IMODE((cache / "private").stat().st_mode) == 0o700
    assert not list(Path(constants.HF_HUB_CACHE).glob(f"models--{name.replace('/', '--')}*"))
    for token in (None, STRANGER):
        with refused(words):
            find(name, token)
    with refused("sign in again"):
        find(name, "hf_wrong")
    with hub.gone(), refused("does not answer"):
        find(name, FRIEND)


def test_a_file_that_is_too_large_is_refused_before_a_byte_is_downloaded(hub):
    hub.add("models", "files/large", MODEL, claims={CONFIG: 20 * 10**9})
    hub.served.clear()
    with refused("20,000 MB"):
        find("files/large").fetch(CONFIG)
    assert hub.served == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), "no room"),
        (PermissionError("/secret/path"), "PermissionError"),
    ],
    ids=repr,
)
def test_a_download_that_fails_gets_one_line_without_paths(hub, monkeypatch, failure, words):
    def fail(*_, **__):
        raise failure

    hub.add("models", "files/broken", MODEL)
    found = find("files/broken")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with refused(words):
        found.fetch(TENSORS)
