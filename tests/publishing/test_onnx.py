"""An exported ONNX folder answers as its run does, whatever the photo."""

import json
import re

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import transfer
from tests.publishing.runs import finished, names_in
from tests.tiny import TINY, draw_classes, picture
from tests.tiny_timm import scores_of
from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError, SourceError
from transfer.publishing.export import export
from transfer.publishing.onnx import export as module
from transfer.publishing.onnx.network import PillowResize

TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.2}  # tiny random bodies suffer more from int8


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> transfer.Run:
    """Shared by all; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    options = TINY | {"others": str(draw_classes(folder / "others", classes=("other",)))}
    return transfer.train(draw_classes(folder / "photos", each=30), out=folder / "run", **options)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Precision → the folder."""
    folder = tmp_path_factory.mktemp("exported")
    return {name: export(trained, folder / name, "onnx", precision=name) for name in TOLERANCE}


@pytest.fixture(scope="module")
def resize(tmp_path_factory) -> onnxruntime.InferenceSession:
    """`PillowResize` to 64 px as a graph: what an exporter makes of it may compute otherwise."""
    file = tmp_path_factory.mktemp("resize") / "resize.onnx"
    size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    blank = torch.zeros(2, 50, 60, 3, dtype=torch.uint8)
    options = {"dynamo": True, "dynamic_shapes": {"image": size}, "opset_version": module.OPSET}
    torch.onnx.export(PillowResize(64), (blank,), input_names=["image"], **options).save(file)
    return onnxruntime.InferenceSession(file)


@pytest.mark.parametrize("size", [(64, 64), (500, 333), (63, 200), (20, 31), (1000, 640), (1, 7)])
def test_the_graph_resizes_as_pillow_does_to_the_pixel(resize, size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    wanted = Transform(image_size=64).resized(image)
    found = resize.run(None, {"image": np.array(image)[None]})[0][0]
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_an_exported_folder_answers_as_its_run(trained, exported, precision):
    run, model = transfer.load(trained), transfer.load(exported[precision])
    assert np.abs(scores_of(model) - scores_of(run)).max() <= TOLERANCE[precision]
    for shown in (picture(1, 3), Image.new("RGB", (50, 60), "red")):
        mine, theirs = (c.answer(c.prepare(shown)) for c in (model, run))
        assert mine.familiarity == pytest.approx(theirs.familiarity, abs=0.1)
        assert mine.known == theirs.known
    report = transfer.evaluate(model, trained.record["source"])
    assert report["images"] == 90 and report["accuracy"] > 0.95 and report["unknown"] < 0.1


def test_the_command_line_says_how_well_it_agrees(trained, tmp_path, capsys, monkeypatch):
    from tests.cli.test_main import run as command

    arguments = ("export", trained.path, "--format", "onnx", "--out", tmp_path / "out")
    status, printed, advice = command(capsys, monkeypatch, *arguments)
    assert (status, printed) == (0, f"{tmp_path / 'out'}\n")
    assert "of them test photos: scores differ by at most" in advice and "classify" in advice


def test_smaller_precisions_take_less_room(exported):
    sizes = {name: (folder / "model.onnx").stat().st_size for name, folder in exported.items()}
    assert sizes["fp32"] / sizes["fp16"] == pytest.approx(2, rel=0.05)
    assert sizes["fp32"] / sizes["int8"] == pytest.approx(4, rel=0.05)


def test_the_readme_says_what_was_compared_and_its_code_runs(
    exported, tmp_path, monkeypatch, capsys
):
    folder = exported["fp32"]
    assert names_in(folder) == ["README.md", "model.json", "model.onnx"]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    compared = json.loads((folder / "model.json").read_text(encoding="utf-8"))["compared"]
    assert compared["photos"] > 10 and f"{compared['photos']} test photos" in readme
    assert str(folder.parent) not in readme
    monkeypatch.chdir(folder)
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    file = tmp_path / "photo.png"
    see_through = picture(2, 1).convert("RGBA")
    see_through.putalpha(100)
    see_through.save(file)
    exec(code.replace("photo.jpg", str(file)), {})
    best = transfer.load(folder).classify(file)[0]
    assert capsys.readouterr().out.startswith(f"{best.label}: {best.score:.1%}")


def test_a_run_without_photos_at_hand_is_compared_on_generated_images(tmp_path):
    run = finished(tmp_path / "run", pooling="flatten", side=64)
    folder = export(run, tmp_path / "out", "onnx")
    found, wanted = (scores_of(transfer.load(of)) for of in (folder, run))
    assert np.ptp(wanted, axis=0).max() > 0.05 and np.abs(found - wanted).max() <= 1e-4
    assert "generated images only" in (folder / "README.md").read_text(encoding="utf-8")
    answer = transfer.load(folder).answer(transfer.load(folder).prepare(picture(0, 0)))
    assert (answer.known, answer.set) == (None, None), "as the run does not tell"
    with pytest.raises(SourceError):  # whose photos would give the ranges
        export(run, tmp_path / "small", "onnx", precision="int8")
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_model_that_answers_otherwise_is_not_written(trained, tmp_path, monkeypatch, precision):
    def others(run):
        network = read_network(run)
        network.head.layers[-1].weight.data.mul_(-1)
        return network

    read_network = module.read_network
    graph = module._graph
    monkeypatch.setattr(module, "_graph", lambda network, run: graph(others(run), run))
    with pytest.raises(RunError, match="so nothing was written") as caught:
        export(trained, tmp_path / "out", "onnx", precision=precision)
    assert "\n" not in str(caught.value) and names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": "pickle"}, "timm, onnx"),
        ({"precision": "int4"}, "fp32, fp16, int8"),
        ({"format": "timm", "precision": "int8"}, "onnx or page only"),
    ],
)
def test_wrong_options_are_refused(trained, tmp_path, change, why):
    with pytest.raises(SettingsError, match=why):
        export(trained, tmp_path / "out", **{"format": "onnx"} | change)


def test_a_damaged_folder_is_one_line(exported, tmp_path):
    for name in ("model.onnx", "model.json"):
        folder = tmp_path / name
        folder.mkdir()
        for file in exported["fp32"].iterdir():
            cut = file.read_bytes()
            (folder / file.name).write_bytes(cut[:99] if file.name == name else cut)
        with pytest.raises(RunError, match="damaged; export the run again") as caught:
            transfer.load(folder)
        assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
