import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import transfer
from tests.publishing.test_timm_export import (
    HEADS,
    finished,
    left,
    pictures,
    scores_of_run,
    scores_of_timm,
    scores_of_transformers,
)
from tests.tiny import TINY, drained, tiny_body
from transfer.errors import RunError, SettingsError, TransferError
from transfer.publishing import bundle as module
from transfer.publishing.bundle import Bundle, write_bundle
from transfer.publishing.timm_export import check_pictures, export
from transfer.runs.run import RECORD, REPORT, TENSORS, Run, read_network, read_run
from transfer.training.recipe import training_events

HEAD, FULL = {RECORD, REPORT, TENSORS}, {"config.json", REPORT, TENSORS}
NEAR = 1e-3
CALM = 20  # by this much less sure, a head with weights at random hides no rounding


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
    """(the scores of a bundle that was carried to another machine, as its run scores them)."""

    def scores(bundle: Bundle) -> np.ndarray:
        moved = shutil.copytree(bundle.folder, tmp_path / "moved")
        monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "another-cache"))
        classifier = transfer.load(str(moved))
        return np.stack([classifier.scores(picture) for picture in pictures()])

    return scores


def dtypes(folder: Path) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in load_file(folder / TENSORS).items()}


def refusal(run, what, folder: Path, kind=RunError) -> str:
    with pytest.raises(kind) as caught:
        write_bundle(run, what, folder)
    text = str(caught.value)
    assert "\n" not in text and str(folder.parent) not in text
    assert not folder.exists()
    return text


def change_tensors(run: Run, change) -> Run:
    tensors = load_file(run.path / TENSORS)
    change(tensors)
    save_file(tensors, run.path / TENSORS)
    return run


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(("pooling", "hidden"), HEADS)
def test_a_head_scores_elsewhere_as_its_run_does(pooling, hidden, side, tmp_path, elsewhere):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=side)
    bundle = write_bundle(run, "head", tmp_path / "out")
    wanted = scores_of_run(run)
    assert np.ptp(wanted, axis=0).max() > 0.05, "pictures that score alike would prove nothing"
    assert np.abs(elsewhere(bundle) - wanted).max() <= NEAR


@pytest.mark.parametrize(
    "options",
    [
        {"method": "features"},
        {"unfreeze": "none"},
        {"unfreeze": "block4", "finetune_lr": 1e-4},
        {"unfreeze": "block1"},
    ],
    ids=["features", "warm-up", "block4", "block1"],
)
def test_what_a_training_leaves_scores_elsewhere_as_well(options, stripes, tmp_path, elsewhere):
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **TINY | options))
    bundle = write_bundle(run.path, "head", tmp_path / "out")
    wanted = scores_of_run(run)
    assert np.abs(elsewhere(bundle) - wanted).max() <= NEAR


def test_a_head_bundle_is_a_run_folder_of_three_files(run, tmp_path):
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert bundle.what == "head" and bundle.classes == run.classes
    assert set(left(bundle.folder)) == set(bundle.files) == HEAD
    assert bundle.files == {p.name: p.stat().st_size for p in bundle.folder.iterdir()}
    assert bundle.bytes == sum(bundle.files.values())
    again = read_run(bundle.folder)
    assert again == bundle.run
    assert (again.accuracy, again.settings) == (run.accuracy, run.settings)


def test_it_holds_what_the_run_holds_in_half_of_the_bytes(run, tmp_path):
    bundle = write_bundle(run, "head", tmp_path / "out")
    own, published = load_file(run.path / TENSORS), load_file(bundle.folder / TENSORS)
    assert {name: t.shape for name, t in own.items()} == {
        name: t.shape for name, t in published.items()
    }
    for name, tensor in published.items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
    assert bundle.files[TENSORS] < 0.51 * (run.path / TENSORS).stat().st_size


def test_a_network_that_is_read_back_is_float32(run, tmp_path):
    bundle = write_bundle(run, "head", tmp_path / "out")
    network = read_network(bundle.run)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}


def test_publishing_what_was_published_changes_nothing_more(run, tmp_path):
    first = write_bundle(run, "head", tmp_path / "first")
    second = write_bundle(first.folder, "head", tmp_path / "second")
    for name in HEAD:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


@pytest.mark.parametrize(
    "factor", [1e6, 1e-8], ids=["above what float16 holds", "below what float16 holds"]
)
def test_a_tensor_that_float16_does_not_hold_stays_float32(factor, tmp_path, elsewhere):
    """Two layers with ReLU between: what one is multiplied by, the other is divided by."""
    run = finished(tmp_path / "run", hidden=(12,))

    def stretch(tensors):
        tensors["head.layers.1.weight"] *= factor
        tensors["head.layers.1.bias"] *= factor
        tensors["head.layers.4.weight"] /= factor * CALM

    bundle = write_bundle(change_tensors(run, stretch), "head", tmp_path / "out")
    kept = dtypes(bundle.folder)
    assert torch.float32 in (kept["head.layers.1.weight"], kept["head.layers.4.weight"])
    assert kept["features.18.weight"] == torch.float16
    assert bundle.run.record["stored"] == "float16"
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


def test_statistics_of_any_size_are_kept(tmp_path, elsewhere):
    run = finished(tmp_path / "run", hidden=())

    def stretch(tensors):
        tensors["head.scale"] *= 1e7
        tensors["head.layers.1.weight"] /= 1e7 * CALM

    bundle = write_bundle(change_tensors(run, stretch), "head", tmp_path / "out")
    assert load_file(bundle.folder / TENSORS)["head.scale"].max() > 65504
    assert bundle.run.record["stored"] == "float16"
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


def test_all_stay_float32_where_half_precision_would_move_the_scores(tmp_path, elsewhere):
    """A number that all classes share does not change a score; rounded, it hides what they do
    not share."""
    run = finished(tmp_path / "run", hidden=())
    change_tensors(run, lambda tensors: tensors["head.layers.1.weight"].add_(1000))
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert set(dtypes(bundle.folder).values()) == {torch.float32}
    assert bundle.run.record["stored"] == read_run(bundle.folder).record["stored"] == "float32"
    assert set(left(bundle.folder)) == HEAD
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize("apart", [0.5, np.nan])
def test_what_does_not_score_as_the_run_is_not_written(apart, there, made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_apart", lambda *_: apart)
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="so nothing was written"):
        write_bundle(made, "head", tmp_path / "out")
    assert left(tmp_path) == (["out"] if there else [])
    assert not there or left(tmp_path / "out") == []


def test_the_run_s_own_photos_are_among_what_is_compared(run, made):
    one = read_network(run)
    other = read_network(run)
    assert module._apart(one, other, run) == 0
    with torch.no_grad():
        other.head.layers[-1].bias[0] += 0.1
    assert module._apart(one, other, run) > NEAR
    assert len(check_pictures(run)) == len(check_pictures(made)) + 4


def test_ten_thousand_classes_with_markup_in_their_names(tmp_path):
    classes = tuple(f"<script>alert({i})</script> ../{i}\n" for i in range(10_000))
    run = finished(tmp_path / "run", classes=classes, hidden=())
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert bundle.classes == read_run(bundle.folder).classes == classes
    assert transfer.load(str(bundle.folder)).classes == classes


def test_another_body_is_refused_by_both_hashes(made, tmp_path):
    bundle = write_bundle(made, "head", tmp_path / "out")
    record = json.loads((bundle.folder / RECORD).read_text())
    own = record["body"]["sha256"]
    record["body"]["sha256"] = "0123456789ab" + "0" * 52
    (bundle.folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(TransferError) as caught:
        transfer.load(str(bundle.folder))
    assert "0123456789ab" in str(caught.value) and own[:12] in str(caught.value)


@pytest.mark.parametrize("name", sorted(HEAD))
def test_a_published_file_that_was_cut_is_named(name, made, tmp_path):
    bundle = write_bundle(made, "head", tmp_path / "out")
    whole = (bundle.folder / name).read_bytes()
    (bundle.folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=f"{name} is cut or damaged"):
        transfer.load(str(bundle.folder))


def test_a_full_bundle_is_an_exported_folder_with_the_report(run, tmp_path):
    bundle = write_bundle(run, "full", tmp_path / "out")
    assert set(left(bundle.folder)) == set(bundle.files) == FULL
    out = export(run, tmp_path / "exported")
    for name in left(out):
        assert (out / name).read_bytes() == (bundle.folder / name).read_bytes()
    assert json.loads((bundle.folder / REPORT).read_text()) == bundle.run.report
    assert bundle.what == "full" and bundle.classes == run.classes


def test_timm_and_transformers_do_not_mind_the_report(made, tmp_path):
    transformers = pytest.importorskip("transformers")
    bundle = write_bundle(made, "full", tmp_path / "out")
    wanted = scores_of_run(made)
    assert np.abs(scores_of_timm(f"local-dir:{bundle.folder}") - wanted).max() <= 1e-4
    found = scores_of_transformers(transformers, str(bundle.folder), made.classes, tmp_path)
    assert np.abs(found - wanted).max() <= 1e-4


def test_a_body_of_one_s_own_file_is_published_with_the_network_only(stripes, tmp_path):
    save_file(tiny_body(3).tensors, tmp_path / "own.safetensors")
    options = TINY | {"weights": str(tmp_path / "own.safetensors"), "unfreeze": "none"}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    text = refusal(run, "head", tmp_path / "out")
    assert "'own.safetensors'" in text and "--what full" in text
    bundle = write_bundle(run, "full", tmp_path / "out")
    found = scores_of_timm(f"local-dir:{bundle.folder}")
    assert np.abs(found - scores_of_run(run)).max() <= 1e-4


@pytest.mark.parametrize("what", ["head", "full"])
def test_an_exported_folder_is_published_as_it_is(what, exported, made, tmp_path):
    bundle = write_bundle(exported, what, tmp_path / "out")
    assert (bundle.what, bundle.run, bundle.classes) == ("full", None, made.classes)
    assert left(bundle.folder) == sorted(bundle.files) == ["config.json", TENSORS]
    for name in bundle.files:
        assert (exported / name).read_bytes() == (bundle.folder / name).read_bytes()


def test_nothing_else_that_lies_in_an_exported_folder_is_published(broken, tmp_path):
    (broken / "notes.txt").write_text("mine")
    (broken / ".env").write_text("HF_TOKEN=hf_secret")
    (broken / REPORT).write_text('{"mistakes": [{"name": "/home/me/passport.jpg"}]}')
    (broken / "pytorch_model.bin").write_bytes(b"\x80")
    (broken / "link.safetensors").symlink_to(tmp_path)
    bundle = write_bundle(broken, "full", tmp_path / "out")
    assert left(bundle.folder) == ["config.json", TENSORS]


def test_what_another_program_wrote_beside_the_tensors_is_left_out(broken, tmp_path):
    tensors = load_file(broken / TENSORS)
    save_file(tensors, broken / TENSORS, metadata={"format": "pt", "made_in": "/home/me"})
    bundle = write_bundle(broken, "full", tmp_path / "out")
    with safe_open(bundle.folder / TENSORS, "pt") as file:
        assert file.metadata() == {"format": "pt"}


def edit_config(folder: Path, **change) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))


def link(folder: Path, name: str) -> None:
    kept = (folder / name).rename(folder.parent / f"kept-{name}")
    (folder / name).symlink_to(kept)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


UNFIT = {
    "no tensors": (lambda f: (f / TENSORS).unlink(), f"expected the file {TENSORS}"),
    "tensors cut": (lambda f: cut(f / TENSORS), "cut or damaged"),
    "config cut": (lambda f: (f / "config.json").write_text('{"arch'), "cut or damaged"),
    "no record": (lambda f: (f / "config.json").write_text("[]"), "config.json"),
    "a linked config": (lambda f: link(f, "config.json"), "config.json in the exported folder"),
    "linked tensors": (lambda f: link(f, TENSORS), "found a link"),
    "another architecture": (lambda f: edit_config(f, architecture="resnet18"), "'resnet18'"),
    "no architecture": (lambda f: edit_config(f, architecture=None), "architecture"),
    "a deeper architecture": (lambda f: edit_config(f, architecture="vgg13"), "expected"),
    "a label less": (lambda f: edit_config(f, label_names=["a", "b"]), "label_names"),
    "another count": (lambda f: edit_config(f, num_classes=4, label_names=list("abcd")), "4"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_exported_folder_that_does_not_load_is_refused(case, broken, tmp_path):
    damage, words = UNFIT[case]
    damage(broken)
    assert words in refusal(broken, "full", tmp_path / "out")


@pytest.mark.parametrize("what", ["body", "", None, "HEAD"])
def test_anything_but_head_and_full_is_refused(what, made, tmp_path):
    text = refusal(made, what, tmp_path / "out", SettingsError)
    assert f"what must be one of head, full, found {what!r}" in text


@pytest.mark.parametrize("what", ["head", "full"])
def test_a_run_that_is_not_finished_or_none_at_all_is_refused(what, tmp_path):
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("")
    for name, words in {
        "run": "expected a finished run in 'run', found no run.json",
        "photos": "found neither run.json nor config.json in 'photos'",
        "file": "found none called 'file'",
        "nothing": "found none called 'nothing'",
        "n" * 300: "check its name",
        "nul\0": "check its name",
    }.items():
        assert words in refusal(tmp_path / name, what, tmp_path / "out")
    assert "check its name" in refusal("~nobody-of-this-name/run", what, tmp_path / "out")


def test_a_folder_with_something_in_it_is_refused_and_untouched(made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / TENSORS).write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        for what in ("head", "full"):
            with pytest.raises(RunError, match=f"found '{name}' with something in it"):
                write_bundle(made, what, tmp_path / name)
    assert (tmp_path / "full" / TENSORS).read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [(OSError(28, "No space left on device"), RunError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "interrupted"],
)
@pytest.mark.parametrize("what", ["head", "full"])
def test_what_is_not_finished_leaves_nothing(what, stop, wanted, made, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise stop

    step = "_apart" if what == "head" else "published_record"  # the last thing that is done
    monkeypatch.setattr(module, step, fail)
    with pytest.raises(wanted) as caught:
        write_bundle(made, what, tmp_path / "here" / "out")
    if wanted is RunError:
        assert "'out' cannot be written (No space left on device)" in str(caught.value)
    assert not (tmp_path / "here" / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "hidden", "side"),
    [("avg", (), 224), ("flatten", (256,), 128), ("avg", (256, 128), 224), ("flatten", (), 224)],
)
def test_the_real_vgg16_scores_elsewhere_as_its_run_does(
    pooling, hidden, side, tmp_path, elsewhere
):
    options = {"architecture": "vgg16", "weights": "bundled", "side": side}
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, **options)
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert np.abs(elsewhere(bundle) - scores_of_run(run)).max() <= NEAR
