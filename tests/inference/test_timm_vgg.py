import json
import shutil
import struct

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.inference.conftest import refused
from tests.tiny_timm import NARROW, edit_config
from transfer.inference.timm_config import read_config
from transfer.inference.timm_vgg import read_vgg

NAME = "model.safetensors"


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "saved")


def read(folder):
    return read_vgg(folder, read_config(folder / "config.json"))


def change(folder, edit) -> None:
    tensors = load_file(folder / NAME)
    edit(tensors)
    save_file(tensors, folder / NAME)


@torch.no_grad()
def logits(network) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return network(torch.randn(2, 3, 32, 32, generator=generator))


@pytest.mark.parametrize(("architecture", "pool"), [("vgg11", "max"), ("vgg11_bn", "catavgmax")])
def test_it_is_the_network_that_timm_builds(tmp_path, architecture, pool):
    folder = tmp_path / "theirs"
    model = timm.create_model(architecture, num_classes=2, mlp_ratio=NARROW, global_pool=pool)
    for name, tensor in model.named_buffers():  # batch norm keeps its statistics
        if name.endswith("running_mean"):
            tensor.fill_(0.3)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    edit_config(folder, model_args={"global_pool": pool})
    network = read(folder)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    torch.testing.assert_close(logits(network), logits(model.eval()), atol=1e-5, rtol=0)


def test_torchvision_s_names_linear_layers_and_half_precision_are_understood(folder, saved):
    def rename(tensors):
        layers = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3"}
        layers |= {"head.fc": "classifier.6"}
        for timms, torchvisions in layers.items():
            weight = tensors.pop(f"{timms}.weight")
            tensors[f"{torchvisions}.weight"] = weight.flatten(1).contiguous()
            tensors[f"{torchvisions}.bias"] = tensors.pop(f"{timms}.bias").half()

    change(folder, rename)
    network = read(folder)
    assert all(p.dtype == torch.float32 for p in network.parameters())
    torch.testing.assert_close(logits(network), logits(read(saved)), atol=0.01, rtol=0)


def test_only_one_safetensors_file_is_ever_read(folder):
    (folder / NAME).rename(folder / "pytorch_model.bin")
    with refused("a pickle, which is never loaded"):
        read(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with refused("several shards"):
        read(folder)


def test_a_cut_file_or_one_that_claims_too_much_is_refused(folder):
    header = {"head.fc.bias": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    text = json.dumps(header).encode()
    data = (folder / NAME).read_bytes()
    for bad in (b"", data[:100], data[:-1], struct.pack("<Q", len(text)) + text):
        (folder / NAME).write_bytes(bad)
        with refused("cut or damaged"):
            read(folder)


def test_a_pickle_under_a_safe_name_is_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"head.fc.bias": Evil()}, folder / NAME)
    with refused("cut or damaged"):
        read(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t["head.fc.weight"].view(-1)[5].fill_(float("nan")), "head.fc.weight"),
        (lambda t: t.update({"head.fc.bias": torch.zeros(5, dtype=torch.int8)}), "quantised"),
        (lambda t: t.pop("head.fc.bias"), "no head.fc.bias"),
        (lambda t: t.update({"evil.0": torch.zeros(1)}), "'evil.0' too"),
    ],
    ids=["NaN", "integers", "missing", "extra"],
)
def test_tensors_that_cannot_be_used_are_named(folder, edit, words):
    change(folder, edit)
    with refused(words):
        read(folder)
