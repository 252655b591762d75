import errno
import stat
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.hub_server import FRIEND, STRANGER
from transfer.errors import RunError
from transfer.inference.hub_files import Address, find_model, parse_address

MODEL = {"config.json": b"{}", "model.safetensors": b"tensors", "pytorch_model.bin": b"never"}
TENSORS = "model.safetensors"
MOST_SECONDS = 15  # a few of the deadlines


def refusal(name: str, token=None) -> str:
    started = time.monotonic()
    with pytest.raises(RunError) as caught:
        find_model(parse_address(name), token)
    assert time.monotonic() - started < MOST_SECONDS
    text = str(caught.value)
    assert "\n" not in text and FRIEND not in text and STRANGER not in text
    return text


@pytest.fixture
def shared():
    """The cache of all programs."""
    return lambda name: sorted(
        path.name for path in (Path(constants.HF_HUB_CACHE) / name).rglob("*")
    )


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("ann/pets", "ann/pets", None),
        ("ann/pets@v1.0", "ann/pets", "v1.0"),
        ("ann/pets@refs/pr/3", "ann/pets", "refs/pr/3"),
        ("https://huggingface.co/ann/pets", "ann/pets", None),
        ("http://www.huggingface.co/ann/pets/", "ann/pets", None),
        ("https://hf.co/ann/pets?library=timm#files", "ann/pets", None),
        ("huggingface.co/ann/pets", "ann/pets", None),
        ("https://huggingface.co/ann/pets/tree/main", "ann/pets", None),
        ("https://huggingface.co/ann/pets/tree/v1/sub", "ann/pets", "v1"),
        ("https://huggingface.co/ann/pets/tree/refs%2Fpr%2F3", "ann/pets", "refs/pr/3"),
        ("https://huggingface.co/ann/pets/blob/v1/config.json", "ann/pets", "v1"),
        ("https://huggingface.co/ann/pets/commit/" + "a" * 40, "ann/pets", "a" * 40),
        ("https://huggingface.co/ann/pets/discussions/4", "ann/pets", None),
        ("HTTPS://HuggingFace.co/ann/pets", "ann/pets", None),
    ],
)
def test_an_address_is_an_id_or_a_link(text, repository, revision):
    assert parse_address(text) == Address(repository=repository, revision=revision)


def test_a_link_to_the_host_in_use_is_one(hub):
    assert parse_address(f"{hub.endpoint}/ann/pets/tree/v1") == Address(
        repository="ann/pets", revision="v1"
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "pets",
            "/ann/pets",
            "ann/pets/more",
            "ann/../pets",
            "../pets",
            "~/pets",
            ".ann/pets",
        ),
        *("ann/pets@", "ann/pets@../x", "ann/pets@a..b", "ann/pets@a b", "a b/c", "ann/pets\n"),
    ],
)
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("https://example.com/ann/pets", "another one"),
        ("https://huggingface.co.example.com/ann/pets", "another one"),
        ("https://hf_secret@huggingface.co/ann/pets", "another one"),
        ("file:///etc/passwd", "another one"),
        ("https://[", "another one"),
        ("https://huggingface.co/ann", "none to a model"),
        ("https://huggingface.co/", "none to a model"),
        ("https://huggingface.co/datasets/ann/pets", "a data set"),
        ("https://huggingface.co/spaces/ann/pets", "a Space"),
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(link, words):
    with pytest.raises(RunError) as caught:
        parse_address(link)
    assert words in str(caught.value) and "hf_secret" not in str(caught.value)


def test_only_what_is_needed_is_downloaded_at_one_commit(hub, shared):
    added = hub.add("models", "files/needed", MODEL)
    found = find_model(parse_address("files/needed"))
    assert found.files == {name: len(data) for name, data in MODEL.items()}
    folder = found.fetch("config.json", TENSORS)
    assert (folder / TENSORS).read_bytes() == b"tensors" and folder.name == added.sha
    hub.add("models", "files/needed", MODEL | {TENSORS: b"moved on"})
    assert (found.fetch(TENSORS) / TENSORS).read_bytes() == b"tensors"
    assert not any("pytorch_model.bin" in asked for asked in hub.requests)
    assert "pytorch_model.bin" not in shared("models--files--needed")


def test_what_is_there_already_is_not_fetched_again(hub):
    hub.add("models", "files/again", MODEL)
    find_model(parse_address("files/again")).fetch("config.json", TENSORS)
    hub.requests.clear()
    find_model(parse_address("files/again")).fetch("config.json", TENSORS)
    assert hub.requests == ["GET /api/models/files/again?blobs=true"]


def test_a_change_on_the_hub_is_seen(hub):
    hub.add("models", "files/moves", MODEL)
    find_model(parse_address("files/moves")).fetch(TENSORS)
    hub.add("models", "files/moves", MODEL | {TENSORS: b"better ones"})
    assert (find_model(parse_address("files/moves")).fetch(TENSORS) / TENSORS).read_bytes() == (
        b"better ones"
    )


@pytest.mark.parametrize("mood", ["gone", "busy", "silent", "offline"])
def test_without_the_hub_what_was_downloaded_is_used(hub, monkeypatch, mood, request):
    hub.add("models", "files/kept", MODEL)
    find_model(parse_address("files/kept")).fetch("config.json", TENSORS)
    request.getfixturevalue("impatient")
    started = time.monotonic()
    with away(hub, mood, monkeypatch):
        folder = find_model(parse_address("files/kept")).fetch("config.json", TENSORS)
        assert (folder / TENSORS).read_bytes() == b"tensors"
    assert time.monotonic() - started < MOST_SECONDS


def away(hub, mood, monkeypatch):
    if mood == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        return hub.gone()
    return hub.gone() if mood == "gone" else hub.in_mood(mood)


@pytest.mark.parametrize("mood", ["gone", "busy", "silent"])
def test_without_the_hub_what_was_never_downloaded_is_told(hub, monkeypatch, mood, impatient):
    hub.add("models", "files/never", MODEL)
    with away(hub, mood, monkeypatch):
        assert "does not answer" in refusal("files/never")


def test_half_a_download_is_not_used_without_the_hub(hub):
    hub.add("models", "files/half", MODEL)
    find_model(parse_address("files/half")).fetch("config.json")
    with hub.gone():
        assert "does not answer" in refusal("files/half")


def test_a_half_download_of_a_newer_commit_leaves_the_older_one(hub):
    hub.add("models", "files/newer", MODEL)
    find_model(parse_address("files/newer")).fetch("config.json", TENSORS)
    hub.add("models", "files/newer", MODEL | {"config.json": b'{"new": 1}'})
    find_model(parse_address("files/newer")).fetch("config.json")
    with hub.gone():
        folder = find_model(parse_address("files/newer")).fetch("config.json", TENSORS)
    assert (folder / "config.json").read_bytes() == b"{}"


def test_what_is_not_there_is_told(hub):
    hub.add("models", "files/there", MODEL)
    assert "found none called 'files/nothing'" in refusal("files/nothing")
    assert "found none called 'files/there@v9'" in refusal("files/there@v9")
    assert find_model(parse_address("files/there@main")).files


def test_a_private_one_is_there_for_its_friends_alone(hub):
    hub.add("models", "files/secret", MODEL, private=True)
    for token in (None, False, STRANGER):
        text = refusal("files/secret", token)
        assert "found none called 'files/secret'" in text and "hf auth login" in text
    assert "sign in again" in refusal("files/secret", "hf_wrong")
    assert find_model(parse_address("files/secret"), FRIEND).files


@pytest.mark.parametrize("gated", ["files", "all"])
def test_a_gated_one_asks_for_its_terms(hub, gated):
    hub.add("models", "files/gated", MODEL, gated=gated)
    for token in (False, STRANGER):
        assert "terms to be accepted" in refusal("files/gated", token)
    assert find_model(parse_address("files/gated"), FRIEND).fetch("config.json").is_dir()


@pytest.mark.parametrize("closed", [{"private": True}, {"gated": "files"}], ids=str)
def test_a_closed_one_never_gets_into_the_cache_of_all(hub, shared, cache, closed):
    name = f"files/{next(iter(closed))}"
    hub.add("models", name, MODEL, **closed)
    folder = find_model(parse_address(name), FRIEND).fetch("config.json", TENSORS)
    assert (folder / TENSORS).read_bytes() == b"tensors"
    assert folder.is_relative_to(cache / "private")
    assert stat.S_IMODE((cache / "private").stat().st_mode) == 0o700
    assert shared(f"models--{name.replace('/', '--')}") == []
    for token in (None, False, STRANGER):
        refusal(name, token)
    with hub.gone():
        for token in (None, False, STRANGER, FRIEND):
            assert "does not answer" in refusal(name, token)


def test_a_visitor_gets_nothing_without_the_hub_s_word(hub):
    """What the machine holds may be what only its owner may see."""
    hub.add("models", "files/open", MODEL)
    find_model(parse_address("files/open")).fetch("config.json", TENSORS)
    with hub.gone():
        for token in (False, STRANGER):
            assert "does not answer" in refusal("files/open", token)


def test_the_signed_in_owner_needs_no_token(hub, monkeypatch):
    hub.add("models", "files/own", MODEL, private=True)
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    assert find_model(parse_address("files/own")).fetch("config.json").is_dir()
    assert "found none" in refusal("files/own", False)


@pytest.mark.parametrize("name", ["config.json", TENSORS])
def test_what_is_too_large_is_refused_before_a_byte_comes(hub, name):
    hub.add("models", "files/large", MODEL, claims={name: 20 * 10**9})
    found = find_model(parse_address("files/large"))
    hub.served.clear()
    with pytest.raises(RunError) as caught:
        found.fetch(name)
    assert "20,000 MB" in str(caught.value) and "'files/large'" in str(caught.value)
    assert hub.served == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), "room on the disk"),
        (ConnectionError("/secret/path"), "does not answer"),
        (PermissionError("/secret/path"), "PermissionError"),
    ],
    ids=repr,
)
def test_a_download_that_breaks_off_is_told(hub, monkeypatch, failure, words):
    def breaks_off(*_, **__):
        raise failure

    hub.add("models", "files/broken", MODEL)
    found = find_model(parse_address("files/broken"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off)
    with pytest.raises(RunError) as caught:
        found.fetch(TENSORS)
    text = str(caught.value)
    assert words in text and "'files/broken'" in text and "secret" not in text


def test_a_token_is_not_shown(hub):
    hub.add("models", "files/shown", MODEL)
    assert FRIEND not in repr(find_model(parse_address("files/shown"), FRIEND))
