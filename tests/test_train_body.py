import hashlib
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
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

SETTINGS = TrainingSettings(architecture="vgg11", limit_per_class=40)
OPTIONS = {
    "architecture": "vgg11",
    "sizes": (32,),
    "epochs": 3,
    "learning_rate": 0.02,
    "batch_size": 32,
    "seed": 0,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Batches this small gain nothing from a second thread, and wait for it on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A body from a file is cached in this folder."""
    monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def images():
    return script.open_images("digits", SETTINGS)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("bodies") / "digits.safetensors"
    return out, script.train_body(images, out, OPTIONS)


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
def test_the_folded_body_equals_the_one_with_batch_norm():
    body, pixels = used_bn_body(), torch.randn(4, 3, 32, 32)
    expected = body(pixels)
    difference = (script.fold(body)(pixels) - expected).abs().max()
    assert expected.std() > 0.1
    assert difference < 1e-4


def test_the_folded_body_is_timms_plain_vgg():
    with torch.device("meta"):
        plain = timm.create_model("vgg11").features
    folded = script.fold(used_bn_body())
    shapes = {name: tensor.shape for name, tensor in folded.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert [type(layer) for layer in folded] == [type(layer) for layer in plain]


def test_it_learns(trained):
    _, figures = trained
    assert figures["top1"] > 0.2, "ten classes: chance is 0.1"
    assert figures["top1"] <= figures["top5"] <= 1
    assert figures["difference"] < 1e-4


def test_the_file_is_float16_and_a_body_for_this_package(trained):
    out, _ = trained
    assert {tensor.dtype for tensor in load_file(out).values()} == {torch.float16}
    body = find_body(str(out), "vgg11", 0)
    assert body.weights == "file:digits.safetensors"
    assert list(out.parent.iterdir()) == [out], "nothing else is left behind"


@torch.inference_mode()
def test_the_written_body_sees_what_the_trained_one_saw(tmp_path):
    body, pixels = used_bn_body(), torch.randn(4, 3, 32, 32)
    script.write(script.fold(body), tmp_path / "body.safetensors")
    tensors = find_body(str(tmp_path / "body.safetensors"), "vgg11", 0).tensors
    expected = body(pixels)
    found = load_body(build_body("vgg11"), tensors).eval()(pixels)
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_the_seed_decides_the_file(tmp_path):
    images = script.open_images("digits", replace(SETTINGS, limit_per_class=5))
    options = OPTIONS | {"epochs": 1, "batch_size": 16}
    first, again, other = (
        script.train_body(images, tmp_path / f"{i}.safetensors", options | {"seed": seed})
        for i, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first["sha256"] != other["sha256"]


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


def test_a_source_with_a_validation_split_gives_no_training_image_away(tmp_path):
    for split, number in (("train", 5), ("validation", 2)):
        for name in ("dark", "light"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                Image.new("RGB", (32, 32), "black").save(folder / f"{i}.png")
    images = script.open_images(str(tmp_path), TrainingSettings())
    assert images.counts() == {"train": 10, "validation": 4}


def test_decay_spares_biases_and_norms():
    stage = script.make_stage(script.build_bn_body("vgg11"), 10, Transform(image_size=32))
    sgd = script.make_optimizer(stage, 0.1)
    decay = {id(p): group["weight_decay"] for group in sgd.param_groups for p in group["params"]}
    for parameter in stage.parameters():
        assert decay[id(parameter)] == (5e-4 if parameter.ndim > 1 else 0)
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in sgd.param_groups)


def test_the_command_writes_body_and_card(tmp_path):
    out = tmp_path / "new" / "small.safetensors"
    small = "--architecture vgg11 --sizes 32,48 --epochs 1 --limit-per-class 5 --card"
    done = CliRunner().invoke(script.app, ["digits", "--out", str(out), *small.split()])
    assert done.exit_code == 0, done.output
    text = (out.parent / "README.md").read_text()
    card = ModelCard(text)
    assert card.data.library_name == "timm"
    for fact in ("Data: digits", "10 classes", "vgg11_bn", "32, 48 px", "top-1", "sha256"):
        assert fact in text
    assert hashlib.sha256(out.read_bytes()).hexdigest() in text


def test_an_error_is_one_line(tmp_path):
    out = tmp_path / "body.safetensors"
    out.touch()
    command = [sys.executable, "-m", "examples.train_body", "digits", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == "error: expected a new file, found 'body.safetensors' there; choose another\n"
    )
    assert out.read_bytes() == b""
