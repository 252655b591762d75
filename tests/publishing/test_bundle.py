import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import transfer
from tests.publishing.runs import finished, names_in, scores_of_run
from tests.tiny import tiny_body
from tests.tiny_timm import edit_config, scores_of
from transfer.errors import RunError, SettingsError
from transfer.publishing import bundle as module
from transfer.publishing.bundle import Bundle, write_bundle
from transfer.publishing.export import export
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, TENSORS, Run, read_run

FULL = {"config.json", REPORT, TENSORS}
HEAD = FULL | {RECORD, FAMILIARITY}
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
        return scores_of(transfer.load(str(moved)))

    return scores


def refusal(run, what, folder: Path, kind=RunError) -> str:
    with pytest.raises(kind) as caught:
        write_bundle(run, what, folder)
    text = str(caught.value)
    assert "\n" not in text and str(folder.parent) not in text
    assert not folder.exists()
    return text


def test_a_head_is_a_run_folder_in_half_of_the_bytes(run, tmp_path, elsewhere, monkeypatch):
    monkeypatch.setattr(module, "SCORE_TOLERANCE", NEAR)  # a random body rounds coarsely
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert bundle.what == "head" and bundle.classes == run.classes
    assert set(names_in(bundle.folder)) == set(bundle.files) == HEAD
    again = read_run(bundle.folder)
    assert again == bundle.run
    assert (again.accuracy, again.settings) == (run.accuracy, run.settings)
    for name, tensor in load_file(bundle.folder / TENSORS).items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
    assert bundle.files[TENSORS] < 0.51 * (run.path / TENSORS).stat().st_size
    second = write_bundle(bundle.folder, "head", tmp_path / "second")
    for name in HEAD:
        assert (bundle.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


@pytest.mark.parametrize(
    ("hidden", "factor", "offset"),
    [((12,), 1e6, 0), ((), 1, 1000)],  # a large number that all classes share changes no score
    ids=["above what float16 holds", "rounding hides the rest"],
)
def test_what_half_precision_would_change_stays_float32(
    hidden, factor, offset, tmp_path, elsewhere
):
    run = finished(tmp_path / "run", hidden=hidden)
    tensors = load_file(run.path / TENSORS)
    tensors["head.layers.1.weight"] = factor * tensors["head.layers.1.weight"] + offset
    if hidden:  # ReLU lets the next layer divide by the factor
        tensors["head.layers.1.bias"] *= factor
        tensors["head.layers.4.weight"] /= factor
    save_file(tensors, run.path / TENSORS)
    bundle = write_bundle(run, "head", tmp_path / "out")
    dtypes = {tensor.dtype for tensor in load_file(bundle.folder / TENSORS).values()}
    assert dtypes == {torch.float32} and read_run(bundle.folder).record["stored"] == "float32"
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


def test_what_does_not_score_as_the_run_is_not_written(made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_score_difference", lambda *_: np.nan)
    assert "so nothing was written" in refusal(made, "head", tmp_path / "out")


def test_a_body_from_a_file_is_published_only_with_the_complete_network(tmp_path):
    save_file(tiny_body(3).tensors, tmp_path / "own.safetensors")
    run = finished(tmp_path / "run", weights=str(tmp_path / "own.safetensors"))
    text = refusal(run, "head", tmp_path / "out")
    assert "'own.safetensors'" in text and "full network" in text
    bundle, exported = write_bundle(run, "full", tmp_path / "out"), export(run, tmp_path / "dir")
    assert set(names_in(bundle.folder)) == set(bundle.files) == FULL
    for name in names_in(exported):
        assert (exported / name).read_bytes() == (bundle.folder / name).read_bytes()
    assert json.loads((bundle.folder / REPORT).read_text()) == bundle.run.report
    assert bundle.run.settings.weights == "own.safetensors"
    assert bundle.run.record["body"]["weights"] == "file:own.safetensors"


def test_only_two_files_of_an_exported_folder_are_published(broken, made, tmp_path):
    before = {name: (broken / name).read_bytes() for name in ("config.json", TENSORS)}
    (broken / ".env").write_text("HF_TOKEN=hf_secret")
    (broken / REPORT).write_text('{"mistakes": [{"name": "/home/me/passport.jpg"}]}')
    tensors = load_file(broken / TENSORS)
    save_file(tensors, broken / TENSORS, metadata={"format": "pt", "made_in": "/home/me"})
    bundle = write_bundle(broken, "head", tmp_path / "out")
    assert (bundle.what, bundle.run, bundle.classes) == ("full", None, made.classes)
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == before


def link(folder: Path, name: str) -> None:
    moved = (folder / name).rename(folder.parent / f"moved-{name}")
    (folder / name).symlink_to(moved)


UNFIT = {
    "no tensors": (lambda f: (f / TENSORS).unlink(), f"expected the file {TENSORS}"),
    "tensors cut": (lambda f: os.truncate(f / TENSORS, 10_000), "cut or damaged"),
    "a linked config": (lambda f: link(f, "config.json"), "config.json in the exported folder"),
    "another architecture": (lambda f: edit_config(f, architecture="resnet18"), "'resnet18'"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_exported_folder_that_does_not_load_is_refused(case, broken, tmp_path):
    damage, words = UNFIT[case]
    damage(broken)
    assert words in refusal(broken, "full", tmp_path / "out")


def test_what_is_no_finished_run_is_refused(made, tmp_path):
    text = refusal(made, "body", tmp_path / "out", SettingsError)
    assert "what must be one of head, full, page, dataset, found 'body'" in text
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    assert "found no run.json" in refusal(tmp_path / "run", "head", tmp_path / "out")
    for name in ("photos", "n" * 300, "nul\0"):
        assert "neither run.json nor" in refusal(tmp_path / name, "head", tmp_path / "out")
