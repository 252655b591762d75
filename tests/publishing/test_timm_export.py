import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

import transfer
from tests.publishing.card.cards import edited
from tests.publishing.runs import finished, names_in, scores_of_run, scores_of_transformers
from tests.tiny import tiny_network
from tests.tiny_timm import scores_of_timm
from transfer.errors import RunError, TransferError
from transfer.publishing import timm_export as module
from transfer.publishing.export import export
from transfer.publishing.timm_export import CONFIG, TENSORS, timm_tensors
from transfer.runs.run import read_network, read_tensors

ATOL = 1e-4


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> transfer.Run:
    """Shared by all; not to be changed."""
    return finished(tmp_path_factory.mktemp("made") / "run")


def refusal(**arguments) -> str:
    with pytest.raises(TransferError) as caught:
        export(**arguments)
    text = str(caught.value)
    assert "\n" not in text and str(Path(arguments["out"]).parent) not in text
    return text


@pytest.mark.parametrize(
    ("pooling", "hidden", "side", "classes", "width"),
    [
        ("avg", (), 2, 3, 6),
        ("avg", (), 2, 300, 512),
        ("avg", (600, 20), 1, 3, 600),
        ("flatten", (12,), 6, 3, 12),
        ("flatten", (20, 9), 7, 3, 20),
    ],
)
@torch.no_grad()
def test_a_head_on_a_feature_map_of_any_size_is_equal_and_narrow(
    pooling, hidden, side, classes, width
):
    network = tiny_network(side=32 * side, pooling=pooling, hidden=hidden, classes=classes)
    maps = torch.rand(6, 512, side, side, generator=torch.Generator().manual_seed(0)) ** 4
    network.head.standardise([network.head.pool(maps)])
    tensors = timm_tensors(network, side)
    assert len(tensors["pre_logits.fc1.bias"]) == width
    with torch.device("meta"):
        model = timm.create_model("vgg11", num_classes=classes, mlp_ratio=width / 4096).eval()
    model.load_state_dict(tensors, assign=True)
    wanted = network.head(maps)
    assert np.ptp(wanted.numpy(), axis=0).min() > 100 * ATOL
    assert (model.forward_head(maps) - wanted).abs().max() <= ATOL


def test_timm_and_transformers_score_as_the_run_does_in_its_order(hub, tmp_path):
    transformers = pytest.importorskip("transformers", reason="requirements-dev.txt names it")
    classes = ("zebra", "ant", "Möwe", "42")
    run = finished(tmp_path / "run", side=64, classes=classes, architecture="vgg13")
    out = export(run.path, tmp_path / "out")
    hub.add("models", "me/stripes", {path.name: path.read_bytes() for path in out.iterdir()})
    wanted = scores_of_run(run)
    assert np.ptp(wanted, axis=0).max() > 0.05, "images that score alike would prove nothing"
    assert np.abs(scores_of_timm("hf-hub:me/stripes") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, "me/stripes", classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL
    tensors = load_file(out / TENSORS)
    for name, tensor in read_network(run).features.state_dict().items():
        assert torch.equal(tensors[f"features.{name}"], tensor), "also of the fine-tuned blocks"


def test_the_command_line_writes_two_files_readable_as_others(made, tmp_path, capsys, monkeypatch):
    from tests.cli.test_main import run as command

    (tmp_path / "plain").write_text("")
    out = tmp_path / "new" / "out"
    arguments = ("export", made.path, "--format", "timm", "--out", out)
    status, printed, advice = command(capsys, monkeypatch, *arguments)
    assert (status, printed) == (0, f"{out}\n") and f"local-dir:{out}" in advice
    assert names_in(out) == [CONFIG, TENSORS] and names_in(out.parent) == ["out"]
    for name in (TENSORS, CONFIG):
        assert (out / name).stat().st_mode == (tmp_path / "plain").stat().st_mode
    tensors, metadata = read_tensors(out / TENSORS)
    assert metadata == {"format": "pt"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    config = json.loads((out / CONFIG).read_text())
    assert "num_classes" not in config["model_args"], "transformers gives it itself"


def test_what_cannot_be_exported_is_refused(made, tmp_path):
    network = tiny_network(classes=2049, side=96, pooling="flatten", hidden=())
    with pytest.raises(RunError, match="at most 4096 numbers before the last layer, found 4098"):
        timm_tensors(network, 3)
    large = edited(made, transform=made.record["transform"] | {"image_size": 256})
    out = tmp_path / "out"
    assert "at most 255 pixels, found 256" in refusal(run=large, out=out)
    assert "expected a run folder" in refusal(run=tmp_path / "run", out=out)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("timm_tensors", lambda found: found["head.fc.bias"].fill_(np.nan), "apart"),
        ("timm_config", lambda found: found["label_names"].reverse(), "other class names"),
    ],
)
def test_what_does_not_score_as_the_run_is_not_written(
    name, change, words, made, tmp_path, monkeypatch
):
    original = getattr(module, name)

    def changed(*arguments) -> dict:
        change(found := original(*arguments))
        return found

    monkeypatch.setattr(module, name, changed)
    assert words in refusal(run=made, out=tmp_path / "out")
    assert names_in(tmp_path) == []
