import errno
import hashlib
import io
import os
import pickle
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from tqdm import tqdm

from transfer.errors import CacheError, WeightsError
from transfer.model.weights import (
    BUNDLED,
    BUNDLED_SHA256,
    build_body,
    find_body,
    find_body_again,
    load_body,
    tensors_hash,
)

VGG11 = "timm/vgg11.tv_in1k"


@pytest.fixture(scope="module")
def vgg11() -> dict[str, torch.Tensor]:
    """timm's names and shapes, with numbers of our own."""
    return find_body("random", "vgg11", 3).tensors


def refusal(call, *args) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message and "/tmp" not in message and "http" not in message
    return message


def same(found: dict, expected: dict) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in found
    )


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_is_read_and_found_again_after_it_is_gone(tmp_path, vgg11, cache, suffix):
    path = tmp_path / f"mine.{suffix}"
    state = vgg11 | {"classifier.6.bias": torch.zeros(1000)}  # as torchvision names its head
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    body = find_body(str(path), "vgg11", 0)
    assert body.weights == f"file:mine.{suffix}"
    assert same(body.tensors, vgg11) and body.sha256 == tensors_hash(vgg11)
    path.unlink()
    again = find_body_again(body.identity(), "vgg11", 0)
    assert same(again.tensors, vgg11) and again.reason == "as trained"
    assert [path.suffix for path in (cache / "bodies").iterdir()] == [".safetensors"]


def test_a_body_holds_no_head_and_no_memory_until_it_is_loaded(vgg11):
    body = build_body("vgg11")
    assert all(tensor.is_meta for tensor in body.parameters())
    assert {f"features.{name}" for name in body.state_dict()} == set(vgg11)
    loaded = load_body(body, vgg11)
    assert loaded(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def test_bundled():
    body = find_body("bundled", "vgg16", 0)
    assert (body.weights, body.revision) == ("bundled", None)
    assert body.reason == "as requested; the VGG group's own weights, trained on ImageNet"
    stored = load_file(BUNDLED)
    assert same(body.tensors, {k: v.float() for k, v in stored.items() if k in body.tensors})
    assert len(body.tensors) == 26
    assert {tensor.dtype for tensor in body.tensors.values()} == {torch.float32}
    assert body.sha256 == BUNDLED_SHA256
    card = (BUNDLED.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(BUNDLED.read_bytes()).hexdigest() in card


@pytest.mark.parametrize("weights", ["bundled", "file:mine.pth"])
def test_the_bundled_body_is_found_again_by_its_hash_without_the_cache(weights, cache):
    identity = {"weights": weights, "sha256": BUNDLED_SHA256, "revision": None}
    body = find_body_again(identity, "vgg16", 0)
    assert tensors_hash(body.tensors) == BUNDLED_SHA256 and not (cache / "bodies").exists()


def test_a_run_on_the_body_of_an_earlier_version_says_what_to_do():
    identity = {"weights": "bundled", "sha256": "d4c4" * 16, "revision": None}
    message = refusal(find_body_again, identity, "vgg16", 0)
    assert "an earlier version bundled (d4c4d4c4d4c4…)" in message and "train again" in message


def test_random_is_decided_by_the_seed(vgg11):
    again, other = find_body("random", "vgg11", 3), find_body("random", "vgg11", 4)
    assert same(again.tensors, vgg11)
    assert again.weights == "random" and "learned nothing" in again.reason
    assert again.sha256 != other.sha256
    assert same(find_body_again(again.identity(), "vgg11", 3).tensors, vgg11)
    assert "expected the body random" in refusal(find_body_again, again.identity(), "vgg11", 4)


def test_random_is_he_initialisation(vgg11):
    kernel = vgg11["features.8.weight"]
    assert kernel.std().item() == pytest.approx((2 / (kernel.shape[0] * 9)) ** 0.5, rel=0.02)
    assert not vgg11["features.8.bias"].any()


def test_the_hash_depends_on_the_tensors_and_not_on_the_version():
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor([0.5])}
    digest = "dccdd617e2ed1a441dc770d7dc7ecdeb2a18928436950f07ea626ce0dfc4fc6c"
    assert tensors_hash(tensors) == digest
    assert tensors_hash({"a": tensors["a"].double(), "b": tensors["b"]}) == digest
    turned = tensors["b"].t().contiguous().t()
    assert tensors_hash(tensors | {"b": turned}) == digest
    assert tensors_hash(tensors | {"b": torch.arange(6.0).view(3, 2)}) != digest


class Intruder:
    """Its pickle makes a folder when it is run."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, vgg11, old_format):
    path, ran = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save(vgg11 | {"x": Intruder(ran)}, path, _use_new_zipfile_serialization=not old_format)
    assert "'evil.pth' holds more than tensors" in refusal(find_body, str(path), "vgg11", 0)
    assert not ran.exists()
    with path.open("wb") as file:
        pickle.dump(Intruder(ran), file)
    assert "evil.pth" in refusal(find_body, str(path), "vgg11", 0)
    assert not ran.exists()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_cut_file_is_refused(tmp_path, vgg11, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    small = {name: tensor[:1].clone() for name, tensor in vgg11.items()}
    save_file(small, path) if suffix == "safetensors" else torch.save(small, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    message = refusal(find_body, str(path), "vgg11", 0)
    assert f"'cut.{suffix}' are cut off" in message and "download it again" in message


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {"state_dict": {"features.0.weight": torch.zeros(1)}}, {"a": 1}]
)
def test_a_file_without_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    message = refusal(find_body, str(tmp_path / "other.pth"), "vgg11", 0)
    assert "expected tensors by name in 'other.pth'" in message


def test_another_vgg_names_the_leaf_and_both_shapes(tmp_path, vgg11):
    save_file(vgg11, tmp_path / "vgg11.safetensors")
    message = refusal(find_body, str(tmp_path / "vgg11.safetensors"), "vgg16", 0)
    assert "features.2.weight" in message and "found none" in message
    wrong = vgg11 | {"features.3.weight": torch.zeros(128, 64, 1, 1)}
    message = refusal(load_body, build_body("vgg11"), wrong)
    assert "features.3.weight" in message
    assert "(128, 64, 3, 3)" in message and "(128, 64, 1, 1)" in message


@pytest.mark.parametrize("name", ["none.pth", ".", "~nobody-here/x.pth", "x" * 5000])
def test_weights_that_do_not_exist_list_the_choices(name):
    assert "auto, hub, bundled, random or a file" in refusal(find_body, name, "vgg11", 0)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, vgg11, cache, monkeypatch):
    save_file(vgg11, tmp_path / "mine.safetensors")

    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(CacheError, match="No space left"):
        patch.setattr(Path, "write_bytes", full)
        find_body(str(tmp_path / "mine.safetensors"), "vgg11", 0)
    assert list((cache / "bodies").iterdir()) == []


def test_a_body_that_is_not_in_the_cache_says_how_to_get_it():
    identity = {"weights": "file:mine.pth", "sha256": "ab" * 32, "revision": None}
    message = refusal(find_body_again, identity, "vgg11", 0)
    assert "file:mine.pth" in message and "abababababab…" in message and "TRANSFER_CACHE" in message


def served(hub, tensors, name: str = VGG11):
    return hub.add("models", name, {"model.safetensors": save(tensors)})


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    """The Hub's own cache, empty, so that one test's download does not help another."""
    from huggingface_hub import constants

    folder = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def test_from_the_hub_then_from_this_machine_with_the_hub_gone(hub, vgg11, empty_hub_cache):
    repository = served(hub, vgg11 | {"head.fc.bias": torch.zeros(1000)})
    first = find_body("auto", "vgg11", 0)
    assert (first.weights, first.revision) == ("hub", repository.sha)
    assert first.reason == "downloaded"
    assert same(first.tensors, vgg11)
    with hub.gone():
        for weights in ("hub", "auto"):
            second = find_body(weights, "vgg11", 0)
            assert (second.weights, second.revision) == ("hub", repository.sha)
            assert second.sha256 == first.sha256
            assert "found in the cache of downloaded bodies" in second.reason
        again = find_body_again(first.identity(), "vgg11", 0)
        assert (again.revision, again.sha256) == (repository.sha, first.sha256)


def test_a_download_shows_the_bar_of_the_hubs_client(hub, vgg11, empty_hub_cache, monkeypatch):
    drawn = io.StringIO()
    bar = partial(tqdm, file=drawn, mininterval=0)
    monkeypatch.setattr(import_module("huggingface_hub.utils.tqdm"), "tqdm", bar)
    served(hub, vgg11)
    find_body("hub", "vgg11", 0)
    assert "body:   0%" in drawn.getvalue() and "body: 100%" in drawn.getvalue()
    assert "36.9M/36.9M" in drawn.getvalue()
    drawn.truncate(0)
    find_body("hub", "vgg11", 0)
    assert not drawn.getvalue()


@pytest.mark.parametrize("mood", ["busy", "silent"])
def test_auto_takes_the_bundled_body_when_the_hub_does_not_answer(
    hub, mood, empty_hub_cache, impatient
):
    with hub.in_mood(mood):
        body = find_body("auto", "vgg16", 0)
    assert body.weights == "bundled" and body.reason.startswith("timm's body is not available")
    assert "does not answer" in body.reason and "trained on ImageNet" in body.reason


def test_hub_weights_are_not_replaced_by_others(hub, empty_hub_cache):
    with hub.gone():
        assert "does not answer" in refusal(find_body, "hub", "vgg16", 0)
    assert "timm/vgg13.tv_in1k" in refusal(find_body, "hub", "vgg13", 0)
