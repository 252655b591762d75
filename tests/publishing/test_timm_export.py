import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import transfer
from tests.publishing.runs import HEADS, finished, names_in, scores_of_run, scores_of_transformers
from tests.tiny import tiny_network
from tests.tiny_timm import scores_of_timm
from transfer.errors import RunError, TransferError
from transfer.publishing import timm_export as module
from transfer.publishing.check_images import check_images
from transfer.publishing.timm_export import CONFIG, TENSORS, export, timm_tensors
from transfer.runs.run import read_network

ATOL = 1e-4


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="requirements-dev.txt names transformers")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> transfer.Run:
    """Shared by all; not to be changed."""
    return finished(tmp_path_factory.mktemp("made") / "run")


def in_timm(tensors: dict[str, torch.Tensor], classes: int) -> torch.nn.Module:
    with torch.device("meta"):
        ratio = len(tensors["pre_logits.fc1.bias"]) / 4096
        model = timm.create_model("vgg11", num_classes=classes, mlp_ratio=ratio).eval()
    model.load_state_dict(tensors, assign=True)
    return model


def refusal(**arguments) -> str:
    with pytest.raises(TransferError) as caught:
        export(**arguments)
    text = str(caught.value)
    assert "\n" not in text and str(Path(arguments["out"]).parent) not in text
    return text


@pytest.mark.parametrize(
    ("pooling", "hidden", "side"),
    [("avg", (20, 9), 64), ("flatten", (12,), 32), ("flatten", (), 224)],
)
def test_timm_and_transformers_score_as_the_run_does(pooling, hidden, side, tmp_path, transformers):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=side)
    out = export(run.path, tmp_path / "out")
    wanted = scores_of_run(run)
    assert np.ptp(wanted, axis=0).max() > 0.05, "images that score alike would prove nothing"
    assert np.abs(scores_of_timm(f"local-dir:{out}") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, str(out), run.classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL


@pytest.mark.parametrize("side", [1, 2, 6, 7])
@pytest.mark.parametrize(("pooling", "hidden"), HEADS)
@torch.no_grad()
def test_a_head_on_a_feature_map_of_any_size_is_equal(pooling, hidden, side):
    network = tiny_network(side=32 * side, pooling=pooling, hidden=hidden)
    maps = torch.rand(6, 512, side, side, generator=torch.Generator().manual_seed(0)) ** 4
    network.head.standardise([network.head.pool(maps)])
    model = in_timm(timm_tensors(network, side), classes=3)
    wanted = network.head(maps)
    assert np.ptp(wanted.numpy(), axis=0).min() > 100 * ATOL
    assert (model.forward_head(maps) - wanted).abs().max() <= ATOL


@pytest.mark.parametrize(
    ("pooling", "hidden", "classes", "width"),
    [
        ("avg", (), 3, 6),
        ("avg", (), 300, 512),
        ("avg", (600, 20), 3, 600),
        ("flatten", (700,), 3, 700),
    ],
)
@torch.no_grad()
def test_the_first_layer_is_as_narrow_as_possible(pooling, hidden, classes, width):
    network = tiny_network(classes=classes, side=64, pooling=pooling, hidden=hidden)
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network.head.standardise([network.head.pool(network.features(pixels))])
    tensors = timm_tensors(network, 2)
    assert len(tensors["pre_logits.fc1.bias"]) == width
    wanted = network(pixels)
    assert wanted.abs().max() > 0.1
    assert (in_timm(tensors, classes)(pixels) - wanted).abs().max() <= ATOL


def test_a_fine_tuned_body_is_exported_bit_by_bit(run, tmp_path):
    out = export(run, tmp_path / "out")
    assert np.abs(scores_of_timm(f"local-dir:{out}") - scores_of_run(run)).max() <= ATOL
    found = load_file(out / TENSORS)
    body = read_network(run).features.state_dict()
    assert all(torch.equal(found[f"features.{name}"], tensor) for name, tensor in body.items())


def test_both_load_it_from_a_hub_with_its_classes_in_order(hub, tmp_path, transformers):
    classes = ("zebra", "ant", "Möwe", "42")
    run = finished(tmp_path / "run", classes=classes, architecture="vgg13")
    out = export(run, tmp_path / "out")
    hub.add("models", "me/stripes", {path.name: path.read_bytes() for path in out.iterdir()})
    wanted = scores_of_run(run)
    assert np.abs(scores_of_timm("hf-hub:me/stripes") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, "me/stripes", classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL
    model = timm.create_model(f"local-dir:{out}", pretrained=True)
    assert tuple(model.pretrained_cfg["label_names"]) == classes


def test_the_folder_holds_float32_tensors_and_a_config_readable_as_other_files(made, tmp_path):
    (tmp_path / "plain").write_text("")
    out = export(made, tmp_path / "new" / "out")
    assert names_in(out) == [CONFIG, TENSORS] and names_in(out.parent) == ["out"]
    for name in (TENSORS, CONFIG):
        assert (out / name).stat().st_mode == (tmp_path / "plain").stat().st_mode
    with safe_open(out / TENSORS, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert {tensor.dtype for tensor in load_file(out / TENSORS).values()} == {torch.float32}
    config = json.loads((out / CONFIG).read_text())
    assert "num_classes" not in config["model_args"], "transformers gives it itself"


def test_what_timm_cannot_hold_is_refused(tmp_path):
    network = tiny_network(classes=2049, side=96, pooling="flatten", hidden=())
    with pytest.raises(RunError, match="at most 4096 numbers before the last layer, found 4098"):
        timm_tensors(network, 3)
    run = finished(tmp_path / "run", side=256)
    assert "at most 255 pixels, found 256" in refusal(run=run, out=tmp_path / "out")
    assert names_in(tmp_path) == ["run"]


def test_another_format_and_an_unfinished_run_are_refused(made, tmp_path):
    text = refusal(run=made, out=tmp_path / "out", format="onnx")
    assert "format must be one of timm, found 'onnx'" in text
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    assert "expected a finished run" in refusal(run=tmp_path / "run", out=tmp_path / "out")
    assert names_in(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("timm_tensors", lambda found: found["pre_logits.fc1.weight"].mul_(1.01), "apart"),
        ("timm_tensors", lambda found: found["head.fc.bias"].fill_(np.nan), "apart"),
        ("timm_config", lambda found: found["pretrained_cfg"].update(crop_mode="center"), "apart"),
        ("timm_config", lambda found: found["label_names"].reverse(), "other class names"),
        ("timm_config", lambda found: found.update(architecture="vgg99"), "expected timm to load"),
    ],
)
def test_what_does_not_score_as_the_run_is_not_written(
    name, change, words, made, tmp_path, monkeypatch
):
    original = getattr(module, name)

    def changed(*arguments) -> dict:
        found = original(*arguments)
        change(found)
        return found

    monkeypatch.setattr(module, name, changed)
    assert words in refusal(run=made, out=tmp_path / "out")
    assert names_in(tmp_path) == []


def test_photos_of_the_source_are_compared_too_while_they_are_there(run, stripes, tmp_path, hub):
    hub.requests.clear()
    moved = shutil.copytree(stripes, tmp_path / "moved")
    record = run.record | {"source": str(moved)}
    there = transfer.Run(path=run.path, record=record, report=run.report)
    assert len(check_images(there)) == 3 + 4
    shutil.rmtree(moved)
    elsewhere = transfer.Run(path=run.path, record=record | {"source": "ann/pets"}, report={})
    assert len(check_images(there)) == len(check_images(elsewhere)) == 3
    assert hub.requests == []


def test_the_command_line_exports_what_timm_loads(made, tmp_path, capsys, monkeypatch):
    from tests.cli.test_main import run as command

    arguments = ("export", made.path, "--format", "timm", "--out", tmp_path / "out")
    status, out, err = command(capsys, monkeypatch, *arguments)
    assert (status, out) == (0, f"{tmp_path / 'out'}\n")
    assert f"local-dir:{tmp_path / 'out'}" in err
    status, out, err = command(capsys, monkeypatch, *arguments)
    assert (status, out) == (1, "") and err.startswith("error: expected a new or empty folder")
