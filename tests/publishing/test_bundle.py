import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import transfer
from tests.publishing.runs import finished, names_in, scores_of_run
from tests.tiny import TINY, drained, tiny_body
from tests.tiny_timm import pictures, scores_of_timm
from transfer.errors import RunError, SettingsError, TransferError
from transfer.publishing import bundle as module
from transfer.publishing.bundle import Bundle, write_bundle
from transfer.publishing.timm_export import export
from transfer.runs.run import RECORD, REPORT, TENSORS, Run, read_run
from transfer.training.recipe import training_events

HEAD, FULL = {RECORD, REPORT, TENSORS}, {"config.json", REPORT, TENSORS}
NEAR = 1e-3


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Run:
    """Shared by all; not to be changed."""
    return finished(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory) -> Path:
    return export(made, tmp_path_factory.mktemp("exported") / "pets")


@pytest.fixture
def broken(exported, tmp_path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(exported, tmp_path / "pets"))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The scores of a bundle that was copied to another machine."""

    def scores(bundle: Bundle) -> np.ndarray:
        moved = shutil.copytree(bundle.folder, tmp_path / "moved")
        monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "another-cache"))
        classifier = transfer.load(str(moved))
        return np.stack([classifier.scores(picture) for picture in pictures()])

    return scores


def refusal(run, what, folder: Path, kind=RunError) -> str:
    with pytest.raises(kind) as caught:
        write_bundle(run, what, folder)
    text = str(caught.value)
    assert "\n" not in text and str(folder.parent) not in text
    assert not folder.exists()
    return text


@pytest.mark.parametrize(("pooling", "hidden", "side"), [("avg", (20, 9), 64), ("flatten", (), 32)])
def test_a_head_scores_elsewhere_as_its_run_does(pooling, hidden, side, tmp_path, elsewhere):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=side)
    bundle = write_bundle(run, "head", tmp_path / "out")
    wanted = scores_of_run(run)
    assert np.ptp(wanted, axis=0).max() > 0.05, "images that score alike would prove nothing"
    assert np.abs(elsewhere(bundle) - wanted).max() <= NEAR


def test_a_head_is_a_run_folder_in_half_of_the_bytes(run, tmp_path, elsewhere):
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert bundle.what == "head" and bundle.classes == run.classes
    assert set(names_in(bundle.folder)) == set(bundle.files) == HEAD
    assert bundle.files == {p.name: p.stat().st_size for p in bundle.folder.iterdir()}
    again = read_run(bundle.folder)
    assert again == bundle.run
    assert (again.accuracy, again.settings) == (run.accuracy, run.settings)
    own, published = load_file(run.path / TENSORS), load_file(bundle.folder / TENSORS)
    assert {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in published.items()}
    for name, tensor in published.items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
    assert bundle.files[TENSORS] < 0.51 * (run.path / TENSORS).stat().st_size
    second = write_bundle(bundle.folder, "head", tmp_path / "second")
    for name in HEAD:
        assert (bundle.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


@pytest.mark.parametrize(
    ("hidden", "change"),
    [
        # above what float16 holds; ReLU lets the next layer divide by it
        (
            (12,),
            {"head.layers.1.weight": 1e6, "head.layers.1.bias": 1e6, "head.layers.4.weight": 1e-6},
        ),
        # all classes share a large number: it changes no score, but rounded it hides the rest
        ((), {"head.layers.1.weight": torch.tensor(1000.0)}),
    ],
    ids=["too large", "shared"],
)
def test_what_half_precision_would_change_stays_float32(hidden, change, tmp_path, elsewhere):
    run = finished(tmp_path / "run", hidden=hidden)
    tensors = load_file(run.path / TENSORS)
    for name, by in change.items():
        tensors[name] = tensors[name] + by if isinstance(by, torch.Tensor) else tensors[name] * by
    save_file(tensors, run.path / TENSORS)
    bundle = write_bundle(run, "head", tmp_path / "out")
    dtypes = {tensor.dtype for tensor in load_file(bundle.folder / TENSORS).values()}
    assert dtypes == {torch.float32} and read_run(bundle.folder).record["stored"] == "float32"
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


@pytest.mark.parametrize("difference", [0.5, np.nan])
def test_what_does_not_score_as_the_run_is_not_written(difference, made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_score_difference", lambda *_: difference)
    assert "so nothing was written" in refusal(made, "head", tmp_path / "out")


def test_a_head_for_another_body_is_refused_with_both_hashes(made, tmp_path):
    bundle = write_bundle(made, "head", tmp_path / "out")
    record = json.loads((bundle.folder / RECORD).read_text())
    own = record["body"]["sha256"]
    record["body"]["sha256"] = "0123456789ab" + "0" * 52
    (bundle.folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(TransferError) as caught:
        transfer.load(str(bundle.folder))
    assert "0123456789ab" in str(caught.value) and own[:12] in str(caught.value)


def test_a_full_bundle_is_an_exported_folder_with_the_report(run, tmp_path):
    bundle = write_bundle(run, "full", tmp_path / "out")
    assert set(names_in(bundle.folder)) == set(bundle.files) == FULL
    out = export(run, tmp_path / "exported")
    for name in names_in(out):
        assert (out / name).read_bytes() == (bundle.folder / name).read_bytes()
    assert json.loads((bundle.folder / REPORT).read_text()) == bundle.run.report
    found = scores_of_timm(f"local-dir:{bundle.folder}")
    assert np.abs(found - scores_of_run(run)).max() <= 1e-4


def test_a_body_from_a_file_is_published_only_with_the_complete_network(stripes, tmp_path):
    save_file(tiny_body(3).tensors, tmp_path / "own.safetensors")
    options = TINY | {"weights": str(tmp_path / "own.safetensors"), "unfreeze": "none"}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    text = refusal(run, "head", tmp_path / "out")
    assert "'own.safetensors'" in text and "full network" in text
    bundle = write_bundle(run, "full", tmp_path / "out")
    found = scores_of_timm(f"local-dir:{bundle.folder}")
    assert np.abs(found - scores_of_run(run)).max() <= 1e-4
    assert bundle.run.settings.weights == "own.safetensors"
    assert bundle.run.record["body"]["weights"] == "file:own.safetensors"


def test_only_two_files_of_an_exported_folder_are_published(broken, made, tmp_path):
    clean = write_bundle(broken, "head", tmp_path / "clean")
    assert (clean.what, clean.run, clean.classes) == ("full", None, made.classes)
    for name in clean.files:
        assert (broken / name).read_bytes() == (clean.folder / name).read_bytes()
    (broken / ".env").write_text("HF_TOKEN=hf_secret")
    (broken / REPORT).write_text('{"mistakes": [{"name": "/home/me/passport.jpg"}]}')
    (broken / "pytorch_model.bin").write_bytes(b"\x80")
    tensors = load_file(broken / TENSORS)
    save_file(tensors, broken / TENSORS, metadata={"format": "pt", "made_in": "/home/me"})
    bundle = write_bundle(broken, "full", tmp_path / "out")
    assert names_in(bundle.folder) == sorted(bundle.files) == ["config.json", TENSORS]
    with safe_open(bundle.folder / TENSORS, "pt") as file:
        assert file.metadata() == {"format": "pt"}


def edit_config(folder: Path, **change) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))


def link(folder: Path, name: str) -> None:
    moved = (folder / name).rename(folder.parent / f"moved-{name}")
    (folder / name).symlink_to(moved)


UNFIT = {
    "no tensors": (lambda f: (f / TENSORS).unlink(), f"expected the file {TENSORS}"),
    "tensors cut": (
        lambda f: (f / TENSORS).write_bytes((f / TENSORS).read_bytes()[:-1000]),
        "cut or damaged",
    ),
    "a linked config": (lambda f: link(f, "config.json"), "config.json in the exported folder"),
    "another architecture": (lambda f: edit_config(f, architecture="resnet18"), "'resnet18'"),
    "a class less": (lambda f: edit_config(f, label_names=["a", "b"]), "label_names"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_exported_folder_that_does_not_load_is_refused(case, broken, tmp_path):
    damage, words = UNFIT[case]
    damage(broken)
    assert words in refusal(broken, "full", tmp_path / "out")


def test_what_is_no_finished_run_is_refused(made, tmp_path):
    text = refusal(made, "body", tmp_path / "out", SettingsError)
    assert "what must be one of head, full, found 'body'" in text
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    for name, words in {
        "run": "expected a finished run in 'run', found no run.json",
        "photos": "found neither run.json nor config.json in 'photos'",
        "nothing": "found none called 'nothing'",
        "n" * 300: "check its name",
        "nul\0": "check its name",
    }.items():
        assert words in refusal(tmp_path / name, "head", tmp_path / "out")
    assert "check its name" in refusal("~nobody-of-this-name/run", "full", tmp_path / "out")
