"""examples/train_body.py: a body trained from scratch, its batch norms folded away."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from typer.testing import CliRunner

from transfer.data.transform import Transform
from transfer.errors import TransferError
from transfer.features.cached_dataset import CachedDataset
from transfer.model.weights import build_body, find_body, load_body
from transfer.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("train_body", ROOT / "examples" / "train_body.py")
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

SMALL = {
    "architecture": "vgg11",
    "sizes": (32,),
    "epochs": 3,
    "learning_rate": 0.02,
    "batch_size": 32,
    "seed": 0,
}


def used_bn_body():
    """A body whose batch norms have seen something, so that folding them is not trivial."""
    torch.manual_seed(0)
    body = script.build_bn_body("vgg11")
    for layer in body:
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.normal_()
    return body.eval()


@torch.inference_mode()
def test_the_folded_body_is_timms_plain_vgg_and_computes_the_same(tmp_path):
    body, pixels = used_bn_body(), torch.randn(4, 3, 32, 32)
    folded, expected = script.fold(body), body(pixels)
    with torch.device("meta"):
        plain = timm.create_model("vgg11").features
    assert [type(layer) for layer in folded] == [type(layer) for layer in plain]
    assert (folded(pixels) - expected).abs().max() < 1e-4 < expected.std()
    script.write(folded, tmp_path / "body.safetensors")
    tensors = find_body(str(tmp_path / "body.safetensors"), "vgg11", 0).tensors
    found = load_body(build_body("vgg11"), tensors).eval()(pixels)
    assert (found - expected).norm() < 0.01 * expected.norm()  # stored as float16


@torch.inference_mode()
def test_a_body_that_folding_changed_is_refused():
    body = used_bn_body()
    plain = script.fold(body)
    plain[0].bias += 1
    cached = CachedDataset(
        inputs=torch.randint(0, 256, (1, 4, 3, 32, 32), dtype=torch.uint8),
        rows=torch.arange(4),
        labels=torch.zeros(4, dtype=torch.int64),
        names=tuple("abcd"),
    )
    with pytest.raises(TransferError, match="expected the folded body to agree"):
        script.folding_difference(body, plain, Transform(image_size=32), cached)


@pytest.mark.full
def test_a_body_learns_and_is_written_in_half_precision(tmp_path):
    images = script.open_images(
        "digits", TrainingSettings(architecture="vgg11", limit_per_class=40)
    )
    figures = script.train_body(images, tmp_path / "digits.safetensors", SMALL)
    assert figures["top1"] > 0.2, "ten classes: chance is 0.1"
    tensors = load_file(tmp_path / "digits.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.float16}


def test_the_command_writes_body_and_card(tmp_path):
    out = tmp_path / "new" / "small.safetensors"
    small = "--architecture vgg11 --sizes 32,48 --epochs 1 --limit-per-class 5 --card"
    done = CliRunner().invoke(script.app, ["digits", "--out", str(out), *small.split()])
    assert done.exit_code == 0, done.output
    text = (out.parent / "README.md").read_text()
    assert ModelCard(text).data.library_name == "timm"
    assert hashlib.sha256(out.read_bytes()).hexdigest() in text
