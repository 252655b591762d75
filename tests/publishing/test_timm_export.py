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
from tests.tiny import CLASSES, SIDE, TINY, drained, tiny_network
from tests.tiny_timm import pictures, scores_of_timm
from transfer.data.transform import Transform
from transfer.errors import RunError, SettingsError, TransferError
from transfer.model.vgg import build_network
from transfer.model.weights import find_body
from transfer.publishing import timm_export as module
from transfer.publishing.timm_export import CONFIG, TENSORS, export, timm_tensors
from transfer.runs.run import changed_tensors, read_network
from transfer.runs.writer import RunWriter
from transfer.settings import HeadSettings, TrainingSettings
from transfer.training.recipe import training_events

HEADS = [(pooling, hidden) for pooling in ("avg", "flatten") for hidden in ((), (12,), (20, 9))]
ATOL = 1e-4


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="requirements-dev.txt names transformers")


def finished(
    out: Path,
    *,
    side: int = SIDE,
    pooling: str = "avg",
    hidden: tuple[int, ...] = (12,),
    architecture: str = "vgg11",
    weights: str = "random",
    classes: tuple[str, ...] = CLASSES,
    **transform,
) -> transfer.Run:
    """A run as a training leaves it, with a body and a head that never learned.

    Their scores are far from even, and block5 is no longer that of the body.
    """
    settings = TrainingSettings(
        architecture=architecture,
        weights=weights,
        image_size=side,
        head=HeadSettings(pooling=pooling, hidden=hidden, dropout=0.5),
    )
    transform = Transform(image_size=side, **transform)
    body = find_body(weights, architecture, 0)
    network = build_network(architecture, body.tensors, settings.head, side, len(classes), seed=1)
    warm(network, transform)
    record = {
        "classes": list(classes),
        "settings": settings.to_json(),
        "transform": transform.to_json(),
        "body": body.identity(),
        "source": "nobody/nothing",
    }
    with RunWriter(out) as builder:
        return builder.finish(record, {"accuracy": 0.5}, changed_tensors(network, body.tensors))


@torch.no_grad()
def warm(network, transform: Transform) -> None:
    last = [layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)][-1]
    last.weight.mul_(1.1)
    seen = np.stack([transform.pixels(shown) for shown in pictures()])
    features = network.features(transform.normalise(torch.from_numpy(seen)))
    network.head.standardise([network.head.pool(features)])
    for parameter in network.head.parameters():
        parameter.mul_(3)


def scores_of_run(run) -> np.ndarray:
    classifier = transfer.load(run)
    return np.stack([classifier.scores(shown) for shown in pictures()])


def scores_of_transformers(transformers, name: str, classes, folder: Path) -> np.ndarray:
    """From files, as an upload comes."""
    classify = transformers.pipeline("image-classification", model=name, device="cpu")
    rows = []
    for i, shown in enumerate(pictures()):
        shown.save(folder / f"shown-{i}.png")
        answer = classify(str(folder / f"shown-{i}.png"), top_k=len(classes))
        found = {row["label"]: row["score"] for row in answer}
        assert set(found) == set(classes)
        rows.append([found[label] for label in classes])
    return np.array(rows)


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


def refusal(kind=RunError, **arguments) -> str:
    with pytest.raises(kind) as caught:
        export(**arguments)
    text = str(caught.value)
    assert "\n" not in text and str(Path(arguments["out"]).parent) not in text
    return text


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(("pooling", "hidden"), HEADS)
def test_timm_and_transformers_score_as_the_run_does(pooling, hidden, side, tmp_path, transformers):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=side)
    out = export(run.path, tmp_path / "out")
    wanted = scores_of_run(run)
    assert np.ptp(wanted, axis=0).max() > 0.05, "pictures that score alike would prove nothing"
    assert np.abs(scores_of_timm(f"local-dir:{out}") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, str(out), run.classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL


@pytest.mark.parametrize(("side", "pooling"), [(63, "flatten"), (224, "flatten"), (255, "avg")])
def test_odd_and_large_images_are_carried_over(side, pooling, tmp_path):
    run = finished(tmp_path / "run", pooling=pooling, side=side)
    out = export(run, tmp_path / "out")
    assert np.abs(scores_of_timm(f"local-dir:{out}") - scores_of_run(run)).max() <= ATOL


@pytest.mark.parametrize("side", range(1, 8))
@pytest.mark.parametrize(("pooling", "hidden"), HEADS)
@torch.no_grad()
def test_a_head_on_a_map_of_any_size_is_carried_over(pooling, hidden, side):
    network = tiny_network(side=32 * side, pooling=pooling, hidden=hidden)
    maps = torch.rand(6, 512, side, side, generator=torch.Generator().manual_seed(0)) ** 4
    network.head.standardise([network.head.pool(maps)])
    model = in_timm(timm_tensors(network, side), classes=3)
    wanted = network.head(maps)
    assert np.ptp(wanted.numpy(), axis=0).min() > 100 * ATOL
    assert (model.forward_head(maps) - wanted).abs().max() <= ATOL


@pytest.mark.parametrize("architecture", ["vgg13", "vgg16", "vgg19"])
def test_every_architecture_keeps_its_name(architecture, tmp_path):
    run = finished(tmp_path / "run", architecture=architecture)
    out = export(run, tmp_path / "out")
    assert json.loads((out / CONFIG).read_text())["architecture"] == architecture
    assert np.abs(scores_of_timm(f"local-dir:{out}") - scores_of_run(run)).max() <= ATOL


@pytest.mark.parametrize(
    "options",
    [{"method": "features"}, {"unfreeze": "none", "head": "flatten-8"}],
    ids=["features", "warm-up"],
)
def test_a_training_with_the_body_frozen_can_be_exported(options, stripes, tmp_path):
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **TINY | options))
    out = export(run.path, tmp_path / "out")
    assert np.abs(scores_of_timm(f"local-dir:{out}") - scores_of_run(run)).max() <= ATOL


def test_a_fine_tuned_body_is_exported_bit_by_bit(run, tmp_path):
    out = export(run, tmp_path / "out")
    assert np.abs(scores_of_timm(f"local-dir:{out}") - scores_of_run(run)).max() <= ATOL
    found = load_file(out / TENSORS)
    body = read_network(run).features.state_dict()
    assert all(torch.equal(found[f"features.{name}"], tensor) for name, tensor in body.items())


def test_both_load_it_from_a_hub_as_well(hub, tmp_path, transformers):
    run = finished(tmp_path / "run")
    out = export(run, tmp_path / "out")
    hub.add("models", "me/stripes", {path.name: path.read_bytes() for path in out.iterdir()})
    wanted = scores_of_run(run)
    assert np.abs(scores_of_timm("hf-hub:me/stripes") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, "me/stripes", run.classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL


def test_the_classes_keep_their_order(tmp_path, transformers):
    classes = ("zebra", "ant", "Möwe", "42")
    out = export(finished(tmp_path / "run", classes=classes), tmp_path / "out")
    model = timm.create_model(f"local-dir:{out}", pretrained=True)
    assert tuple(model.pretrained_cfg["label_names"]) == classes
    config = transformers.AutoConfig.from_pretrained(out)
    assert tuple(config.id2label[i] for i in range(4)) == classes


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"interpolation": "bicubic"},
        {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.25, 0.2)},
    ],
    ids=str,
)
def test_a_picture_is_prepared_as_the_run_does_it(own, tmp_path):
    run = finished(tmp_path / "run", side=48, **own)
    model = timm.create_model(f"local-dir:{export(run, tmp_path / 'out')}", pretrained=True)
    config = timm.data.resolve_model_data_config(model)
    prepare = timm.data.create_transform(**config, is_training=False)
    for shown in pictures():
        pixels = torch.from_numpy(run.transform.pixels(shown))
        wanted = run.transform.normalise(pixels[None])[0]
        assert (prepare(shown) - wanted).abs().max() < 1e-5


def test_the_folder_holds_float32_tensors_by_timm_s_names_and_a_record(made, tmp_path):
    out = export(made, tmp_path / "new" / "out")
    assert left(out) == [CONFIG, TENSORS] and left(out.parent) == ["out"]
    with safe_open(out / TENSORS, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    tensors, config = load_file(out / TENSORS), json.loads((out / CONFIG).read_text())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    with torch.device("meta"):
        names = timm.create_model("vgg11", num_classes=3).state_dict().keys()
    assert tensors.keys() == names
    assert "num_classes" not in config["model_args"], "transformers gives it itself"


def test_only_its_owner_and_those_whom_he_lets_read_new_files_read_it(made, tmp_path):
    (tmp_path / "plain").write_text("")
    out = export(made, tmp_path / "out")
    for name in (TENSORS, CONFIG):
        assert (out / name).stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("pooling", "hidden", "classes", "width"),
    [
        ("avg", (), 3, 6),
        ("avg", (), 300, 512),
        ("avg", (8,), 300, 8),
        ("avg", (600,), 3, 512),
        ("avg", (600, 20), 3, 600),
        ("flatten", (), 3, 6),
        ("flatten", (), 1500, 2048),
        ("flatten", (700,), 3, 700),
        ("flatten", (4096,), 3, 2048),
    ],
)
def test_the_first_layer_is_as_narrow_as_will_do(pooling, hidden, classes, width):
    network = tiny_network(classes=classes, side=64, pooling=pooling, hidden=hidden)
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.head.standardise([network.head.pool(network.features(pixels))])
    tensors = timm_tensors(network, 2)
    assert len(tensors["pre_logits.fc1.bias"]) == width
    model = in_timm(tensors, classes)
    with torch.no_grad():
        wanted = network(pixels)
        assert wanted.abs().max() > 0.1
        assert (model(pixels) - wanted).abs().max() <= ATOL


def test_the_width_survives_its_way_through_json():
    for width in range(1, 4097):
        assert int(4096 * json.loads(json.dumps(width / 4096))) == width


def test_a_head_that_passes_on_too_much_is_refused():
    network = tiny_network(classes=2049, side=96, pooling="flatten", hidden=())
    with pytest.raises(RunError, match="at most 4096 numbers before the last layer, found 4098"):
        timm_tensors(network, 3)


def test_images_above_255_pixels_are_refused(tmp_path):
    run = finished(tmp_path / "run", side=256)
    text = refusal(run=run, out=tmp_path / "out")
    assert "at most 255 pixels, found 256" in text
    assert left(tmp_path) == ["run"]


@pytest.mark.parametrize("name", ["onnx", "", None])
def test_another_format_is_refused(name, made, tmp_path):
    text = refusal(SettingsError, run=made, out=tmp_path / "out", format=name)
    assert f"format must be one of timm, found {name!r}" in text


def test_a_run_that_is_not_finished_or_not_there_is_refused(tmp_path):
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    assert "expected a finished run" in refusal(run=tmp_path / "run", out=tmp_path / "out")
    assert "found none" in refusal(run=tmp_path / "nothing", out=tmp_path / "out")
    assert left(tmp_path) == ["run"]


def test_what_is_there_is_never_overwritten(made, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for name in ("file", "full"):
        assert f"found {name!r} with something in it" in refusal(run=made, out=tmp_path / name)
    assert "cannot be written" in refusal(run=made, out=tmp_path / "file" / "below")
    assert left(tmp_path) == ["file", "full"] and left(tmp_path / "full") == ["notes.txt"]
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_filled_from_within_as_a_mount_has_to_be(made, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    before, parts = (tmp_path / "out").stat().st_ino, []
    monkeypatch.setattr(module, "_check", lambda folder, *_: parts.append(folder))
    out = export(made, tmp_path / "out")
    assert left(out) == [CONFIG, TENSORS] and out.stat().st_ino == before
    assert [part.parent for part in parts] == [out]


def change_config(monkeypatch, change) -> None:
    whole = module.timm_config

    def changed(*arguments) -> dict:
        config = whole(*arguments)
        change(config)
        return config

    monkeypatch.setattr(module, "timm_config", changed)


def change_tensors(monkeypatch, change) -> None:
    whole = module.timm_tensors

    def changed(*arguments) -> dict:
        tensors = whole(*arguments)
        change(tensors)
        return tensors

    monkeypatch.setattr(module, "timm_tensors", changed)


DAMAGED = {
    "another kernel": (
        lambda m: change_tensors(m, lambda t: t["pre_logits.fc1.weight"].mul_(1.01)),
        "apart",
    ),
    "one weight of the body": (
        lambda m: change_tensors(m, lambda t: t["features.18.weight"][0].zero_()),
        "apart",
    ),
    "no number": (lambda m: change_tensors(m, lambda t: t["head.fc.bias"].fill_(np.nan)), "apart"),
    "a tensor less": (
        lambda m: change_tensors(m, lambda t: t.pop("pre_logits.fc2.bias")),
        "expected timm to load",
    ),
    "another width": (
        lambda m: change_config(m, lambda c: c.update(model_args={"mlp_ratio": 0.5})),
        "expected timm to load",
    ),
    "another architecture": (
        lambda m: change_config(m, lambda c: c.update(architecture="vgg99")),
        "expected timm to load",
    ),
    "another size": (
        lambda m: change_config(m, lambda c: c["pretrained_cfg"].update(input_size=[3, 64, 64])),
        "apart",
    ),
    "another crop": (
        lambda m: change_config(m, lambda c: c["pretrained_cfg"].update(crop_mode="center")),
        "apart",
    ),
    "another mean": (
        lambda m: change_config(m, lambda c: c["pretrained_cfg"].update(mean=[0.5, 0.5, 0.5])),
        "apart",
    ),
    "another interpolation": (
        lambda m: change_config(m, lambda c: c["pretrained_cfg"].update(interpolation="bicubic")),
        "apart",
    ),
    "classes in another order": (
        lambda m: change_config(m, lambda c: c["label_names"].reverse()),
        "other class names",
    ),
}


@pytest.mark.parametrize(
    ("case", "there"), [*((case, False) for case in DAMAGED), ("no number", True)]
)
def test_what_does_not_score_as_the_run_is_not_written(case, there, made, tmp_path, monkeypatch):
    damage, words = DAMAGED[case]
    damage(monkeypatch)
    (tmp_path / "here").mkdir()
    if there:
        (tmp_path / "here" / "out").mkdir()
    assert words in refusal(run=made, out=tmp_path / "here" / "out")
    if there:
        assert left(tmp_path / "here" / "out") == []
    else:
        assert left(tmp_path / "here") == []


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize(
    ("stop", "wanted"),
    [(OSError(28, "No space left on device"), RunError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "interrupted"],
)
def test_what_is_not_finished_leaves_nothing(stop, wanted, there, made, tmp_path, monkeypatch):
    def fail(*_):
        raise stop

    monkeypatch.setattr(module, "_check", fail)
    folder = tmp_path / "here" / "out"
    (folder if there else folder.parent).mkdir(parents=True)
    with pytest.raises(wanted) as caught:
        export(made, folder)
    if wanted is RunError:
        assert "'out' cannot be written (No space left on device)" in str(caught.value)
    assert left(tmp_path / "here") == (["out"] if there else [])
    assert not there or left(folder) == []


def test_a_run_without_its_tensors_is_refused_before_anything_is_written(copied_run, tmp_path):
    (copied_run / "model.safetensors").unlink()
    assert "missing" in refusal(TransferError, run=copied_run, out=tmp_path / "here" / "out")
    assert not (tmp_path / "here").exists()


def test_photos_of_the_source_are_compared_too_while_they_are_there(run, stripes, tmp_path, hub):
    assert len(list(module._photos(run))) == 4
    moved = shutil.copytree(stripes, tmp_path / "moved")
    record = run.record | {"source": str(moved)}
    again = transfer.Run(path=run.path, record=record, report=run.report)
    assert len(list(module._photos(again))) == 4
    shutil.rmtree(moved)
    assert list(module._photos(again)) == []
    for source in ("somebody/pets", None):
        elsewhere = transfer.Run(path=run.path, record=record | {"source": source}, report={})
        assert list(module._photos(elsewhere)) == []
    assert hub.requests == []


def test_the_command_line_exports_what_timm_loads(run, tmp_path, capsys, monkeypatch):
    from tests.cli.test_main import run as command

    arguments = ("export", run.path, "--format", "timm", "--out")
    status, out, err = command(capsys, monkeypatch, *arguments, tmp_path / "out")
    assert (status, out) == (0, f"{tmp_path / 'out'}\n")
    assert f"local-dir:{tmp_path / 'out'}" in err
    found = scores_of_timm(f"local-dir:{out.strip()}")
    assert np.abs(found - scores_of_run(run)).max() <= ATOL
    status, out, err = command(capsys, monkeypatch, *arguments, tmp_path / "out")
    assert (status, out) == (1, "") and err.startswith("error: expected a new or empty folder")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["export", "nowhere", "--out", "out"], 1),
        (["export", "nowhere"], 2),
        (["export", "nowhere", "--out", "out", "--format", "onnx"], 2),
    ],
    ids=["no run", "no out", "no format"],
)
def test_bad_input_on_the_command_line_gets_one_line(
    arguments, wanted, tmp_path, capsys, monkeypatch
):
    from tests.cli.test_main import run as command

    monkeypatch.chdir(tmp_path)
    status, out, err = command(capsys, monkeypatch, *arguments)
    assert (status, out) == (wanted, "") and "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert left(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "hidden"), [("avg", (256,)), ("flatten", ())])
def test_the_real_vgg16_at_224_pixels(pooling, hidden, tmp_path, transformers):
    options = {"architecture": "vgg16", "weights": "bundled", "side": 224}
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, **options)
    out = export(run, tmp_path / "out")
    assert (out / TENSORS).stat().st_size < 100e6
    wanted = scores_of_run(run)
    assert np.abs(scores_of_timm(f"local-dir:{out}") - wanted).max() <= ATOL
    found = scores_of_transformers(transformers, str(out), run.classes, tmp_path)
    assert np.abs(found - wanted).max() <= ATOL
