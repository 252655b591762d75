import json
import shutil
import struct

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_timm import NARROW, edit_config, save_vgg
from transfer.errors import RunError
from transfer.inference.timm_config import read_config
from transfer.inference.timm_vgg import check_tensors, read_vgg

NAME = "model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Shared by all; not to be changed."""
    return save_vgg(tmp_path_factory.mktemp("timm") / "saved")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "saved")


def read(folder):
    return read_vgg(folder, read_config(folder / "config.json"))


def refusal(folder) -> str:
    with pytest.raises(RunError) as caught:
        read(folder)
    text = str(caught.value)
    assert "\n" not in text and str(folder.parent) not in text and len(text) < 400
    return text


def change(folder, edit) -> None:
    tensors = load_file(folder / NAME)
    edit(tensors)
    save_file(tensors, folder / NAME)


@torch.no_grad()
def logits(network) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return network(torch.randn(2, 3, 32, 32, generator=generator))


def test_it_is_the_network_that_timm_builds(saved):
    network = read(saved)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    theirs = timm.create_model(f"local-dir:{saved}", pretrained=True).eval()
    torch.testing.assert_close(logits(network), logits(theirs), atol=1e-5, rtol=0)


def test_batch_norm_keeps_its_statistics(tmp_path):
    folder = save_vgg(tmp_path / "bn", "vgg11_bn", classes=2)
    change(folder, lambda t: t["features.1.running_mean"].fill_(0.3))
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    torch.testing.assert_close(logits(read(folder)), logits(theirs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["max", "catavgmax", "fastavg"])
def test_its_pooling_is_that_of_its_config(tmp_path, pool):
    folder = tmp_path / "pooled"
    model = timm.create_model("vgg11", num_classes=2, mlp_ratio=NARROW, global_pool=pool)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    edit_config(folder, model_args={"global_pool": pool})
    torch.testing.assert_close(logits(read(folder)), logits(model.eval()), atol=1e-5, rtol=0)


def test_half_precision_becomes_whole(folder, saved):
    change(folder, lambda t: t.update({name: v.half() for name, v in t.items()}))
    network = read(folder)
    assert all(p.dtype == torch.float32 for p in network.parameters())
    torch.testing.assert_close(logits(network), logits(read(saved)), atol=0.05, rtol=0.05)


def test_the_names_of_torchvision_are_understood(tmp_path):
    """Its layers are linear and its hidden ones 4096 wide, which no argument can change."""
    folder = save_vgg(tmp_path / "torchvision", classes=2)
    wide = timm.create_model("vgg11", num_classes=2).half().state_dict()
    linear = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3"}
    linear |= {"head.fc": "classifier.6"}
    theirs = {}
    for name, tensor in wide.items():
        layer, _, kind = name.rpartition(".")
        flat = tensor.flatten(1) if layer in linear and kind == "weight" else tensor
        theirs[f"{linear.get(layer, layer)}.{kind}"] = flat.contiguous()
    save_file(theirs, folder / NAME)
    edit_config(folder, model_args={"mlp_ratio": 1.0})
    found = read(folder).state_dict()
    assert all(torch.equal(found[name], wide[name].float()) for name in wide)


def test_only_one_safe_file_is_ever_read(folder):
    check_tensors(["config.json", NAME, "pytorch_model.bin"])
    (folder / NAME).rename(folder / "pytorch_model.bin")
    assert "holds only pickle, which is never run" in refusal(folder)
    (folder / "pytorch_model.bin").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "several shards" in refusal(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert f"expected {NAME}, found none" in refusal(folder)


@pytest.mark.parametrize("left", [0, 7, 100, 10_000, -1])
def test_a_cut_file_is_told(folder, left):
    data = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(data[:left])
    assert "cut or damaged" in refusal(folder)


def test_a_header_that_claims_too_much_takes_no_memory(folder):
    header = {"head.fc.bias": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    text = json.dumps(header).encode()
    (folder / NAME).write_bytes(struct.pack("<Q", len(text)) + text)
    assert "cut or damaged" in refusal(folder)
    (folder / NAME).write_bytes(struct.pack("<Q", 2**62) + text)
    assert "cut or damaged" in refusal(folder)


def test_a_pickle_under_a_safe_name_is_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"head.fc.bias": Evil()}, folder / NAME)
    assert "cut or damaged" in refusal(folder)
    assert not (tmp_path / "ran").exists()


def test_another_number_of_classes_than_config_says_is_told(folder):
    edit_config(folder, num_classes=7, model_args={"num_classes": 7})
    assert "expected 7 classes" in refusal(folder) and "found 5" in refusal(folder)


def test_tensors_of_another_network_are_named(folder):
    edit_config(folder, architecture="vgg13")
    assert "features." in refusal(folder)
    edit_config(folder, architecture="vgg11", model_args={"mlp_ratio": 1.0})
    text = refusal(folder)
    assert "pre_logits.fc1.weight" in text and "(4096, 512, 7, 7)" in text
    edit_config(folder, model_args={"mlp_ratio": NARROW})
    change(folder, lambda t: t.pop("head.fc.bias"))
    assert "expected the tensor head.fc.bias" in refusal(folder)
    change(folder, lambda t: t.update({"head.fc.bias": torch.zeros(5), "evil.0": torch.zeros(1)}))
    assert "'evil.0'" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_told(folder, value):
    change(folder, lambda t: t["features.3.weight"].view(-1)[5].fill_(value))
    assert "features.3.weight" in refusal(folder)


def test_whole_numbers_instead_of_floats_are_told(folder):
    change(folder, lambda t: t.update({"head.fc.weight": t["head.fc.weight"].to(torch.int8)}))
    assert "quantised" in refusal(folder)
