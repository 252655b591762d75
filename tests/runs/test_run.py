import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import TINY, drained, tiny_body, tiny_network
from transfer.data.source import load_splits
from transfer.errors import RunError, TransferError
from transfer.model.weights import tensors_hash
from transfer.runs.run import (
    FORMAT_VERSION,
    RECORD,
    REPORT,
    STAGES,
    TENSORS,
    changed_tensors,
    read_network,
    read_run,
)
from transfer.runs.writer import RunWriter

FILES = {RECORD, TENSORS, REPORT}


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(path, kind=RunError) -> str:
    with pytest.raises(kind) as caught:
        read_network(read_run(path))
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and str(path.parent) not in text
    return text


def edit(path, **change) -> None:
    record = json.loads((path / RECORD).read_text()) | change
    (path / RECORD).write_text(json.dumps(record))


def edit_tensors(path, change) -> None:
    tensors = load_file(path / TENSORS)
    change(tensors)
    save_file(tensors, path / TENSORS)


def test_a_finished_run_is_four_files_of_which_none_is_a_pickle(run):
    assert names(run.path) == FILES | {STAGES}
    assert json.loads((run.path / RECORD).read_text())["format_version"] == FORMAT_VERSION
    for name in (TENSORS, STAGES):
        assert not (run.path / name).read_bytes().startswith((b"PK", b"\x80"))


def test_a_run_says_of_itself_what_its_files_say(run):
    again = read_run(run.path)
    assert again.classes == run.classes == ("across", "down", "spots")
    assert again.settings == run.settings
    assert again.settings.image_size == again.transform.image_size == 32
    assert again.accuracy == json.loads((run.path / REPORT).read_text())["accuracy"]
    assert again.record == json.loads(json.dumps(run.record))


def test_only_the_head_and_what_changed_of_the_body_are_kept(run):
    kept = set(load_file(run.path / TENSORS))
    head = {f"head.{name}" for name in read_network(run).head.state_dict()}
    block5 = {"features.16.weight", "features.16.bias", "features.18.weight", "features.18.bias"}
    assert head <= kept
    assert {name for name in kept if name.startswith("features.")} == block5


def test_changed_tensors_are_the_head_and_what_differs_by_a_bit():
    network, body = tiny_network(), tiny_body().tensors
    with torch.no_grad():
        network.features[8].bias[3] += 1e-12
    head = {f"head.{name}" for name in network.head.state_dict()}
    assert set(changed_tensors(network, body)) == head | {"features.8.bias"}


def test_scores_after_loading_are_those_before_saving(run, stripes):
    """The report was made before the run was saved."""
    network, transform = read_network(run), run.transform
    assert not network.training
    split = load_splits(str(stripes), run.settings).splits["test"]
    shown = [transform.pixels(split.read(i)) for i in range(len(split))]
    pixels = torch.from_numpy(np.stack(shown))
    with torch.no_grad():
        scores = network(transform.normalise(pixels)).softmax(1).numpy()
    right = scores.argmax(1) == split.labels
    assert right.mean() == run.accuracy
    wrong = {split.names[i]: scores[i].max() for i in np.flatnonzero(~right)}
    told = {mistake["name"]: mistake["score"] for mistake in run.report["mistakes"]}
    assert wrong.keys() == told.keys()
    assert all(abs(wrong[name] - told[name]) < 1e-5 for name in told)


def test_a_network_that_is_saved_and_loaded_scores_the_same(run, tmp_path):
    network = read_network(run)
    with torch.no_grad():
        network.features[18].weight.mul_(1.01)
        network.head.layers[-1].bias.add_(0.5)
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with RunWriter(tmp_path / "new") as builder:
        tensors = changed_tensors(network, tiny_body().tensors)
        saved = builder.finish(run.record, run.report, tensors)
        assert names(tmp_path / "new") == FILES
    with torch.no_grad():
        wanted = network(pixels).softmax(1)
        assert not torch.allclose(read_network(run)(pixels).softmax(1), wanted, atol=1e-3)
        for same in (saved, read_run(tmp_path / "new")):
            assert (read_network(same)(pixels).softmax(1) - wanted).abs().max() < 1e-5


def test_the_body_is_found_again_bit_by_bit(run):
    found = read_network(run).state_dict()
    body = {n: t for n, t in tiny_body().tensors.items() if int(n.split(".")[1]) < 16}
    assert tensors_hash({name: found[name] for name in body}) == tensors_hash(body)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(copied_run, name):
    (copied_run / name).unlink()
    assert name in refusal(copied_run)


@pytest.mark.parametrize("left", [0, 100])
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_was_cut_is_named(copied_run, name, left):
    whole = (copied_run / name).read_bytes()
    (copied_run / name).write_bytes(whole[:left])
    assert f"the run's {name} is cut or damaged" in refusal(copied_run)


def test_tensors_cut_in_their_last_bytes_are_noticed(copied_run):
    whole = (copied_run / TENSORS).read_bytes()
    (copied_run / TENSORS).write_bytes(whole[:-1])
    assert "cut or damaged" in refusal(copied_run)


@pytest.mark.parametrize("name", [RECORD, REPORT])
def test_json_that_is_no_record_is_refused(copied_run, name):
    (copied_run / name).write_text("[1, 2]")
    assert name in refusal(copied_run)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, "1", None])
def test_another_format_is_refused_by_number(copied_run, version):
    edit(copied_run, format_version=version)
    assert f"expected a run of format {FORMAT_VERSION}, found {version!r}" in refusal(copied_run)


@pytest.mark.parametrize("name", ["settings", "classes", "transform", "body"])
def test_a_field_of_the_record_that_is_missing_is_named(copied_run, name):
    edit(copied_run, **{name: None})
    assert repr(name) in refusal(copied_run)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"method": "finetune"}},
        {"body": {}},
        {"body": {"weights": 3, "sha256": "x"}},
        {"transform": {"image_size": "large"}},
    ],
    ids=str,
)
def test_a_field_of_the_record_that_does_not_fit_is_told_in_a_line(copied_run, change):
    edit(copied_run, **change)
    assert refusal(copied_run, TransferError)


def test_a_report_without_accuracy_is_refused(copied_run):
    (copied_run / REPORT).write_text('{"accuracy": null}')
    assert "accuracy" in refusal(copied_run)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(copied_run):
    edit_tensors(
        copied_run, lambda t: t.update({"features.18.weight": torch.zeros(512, 256, 3, 3)})
    )
    text = refusal(copied_run)
    for words in ("features.18.weight", "(512, 512, 3, 3)", "(512, 256, 3, 3)"):
        assert words in text


def test_more_classes_than_the_head_has_are_refused(copied_run):
    edit(copied_run, classes=["across", "down", "spots", "waves"])
    text = refusal(copied_run)
    assert "head.layers" in text and "(4, " in text and "(3, " in text


def test_a_tensor_of_the_head_that_is_missing_is_named(copied_run):
    edit_tensors(copied_run, lambda t: t.pop("head.mean"))
    assert "head.mean" in refusal(copied_run)


def test_a_tensor_that_no_part_has_is_named(copied_run):
    edit_tensors(copied_run, lambda t: t.update({"features.99.weight": torch.zeros(1)}))
    assert "features.99.weight" in refusal(copied_run)


def test_another_body_than_the_one_trained_on_is_refused(copied_run):
    body = json.loads((copied_run / RECORD).read_text())["body"]
    edit(copied_run, body=body | {"sha256": "0" * 64})
    assert "sha256 000000000000" in refusal(copied_run, TransferError)


def test_a_folder_that_is_not_there_or_no_run_is_told_so(tmp_path):
    assert "found none called 'nothing'" in refusal(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert f"found no {RECORD}" in refusal(tmp_path / "empty")


def test_heads_of_earlier_stages_stand_beside_the_run_and_are_not_needed(copied_run, tmp_path):
    run = read_run(copied_run)
    with RunWriter(tmp_path / "new") as builder:
        builder.finish(run.record, run.report, load_file(copied_run / TENSORS), b"heads")
    assert names(tmp_path / "new") == FILES | {STAGES}
    assert (tmp_path / "new" / STAGES).read_bytes() == b"heads"
    read_network(read_run(tmp_path / "new"))


def test_a_run_from_weights_in_a_file_survives_the_file(stripes, tmp_path):
    from transfer.training.recipe import training_events

    file = tmp_path / "own.safetensors"
    save_file(tiny_body().tensors, file)
    options = TINY | {"weights": str(file), "unfreeze": "none", "head_epochs": 1}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    assert run.record["body"]["weights"] == "file:own.safetensors"
    file.unlink()
    read_network(read_run(tmp_path / "run"))


def test_tensors_in_half_precision_are_read_as_float32(copied_run):
    wanted = read_network(read_run(copied_run)).state_dict()
    whole = load_file(copied_run / TENSORS)
    save_file({name: tensor.half() for name, tensor in whole.items()}, copied_run / TENSORS)
    found = read_network(read_run(copied_run)).state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor.half().float() if name in whole else tensor)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_tensors_that_hold_no_numbers_are_named(copied_run, number):
    edit_tensors(copied_run, lambda t: t["head.scale"].fill_(number))
    assert "expected finite numbers in head.scale" in refusal(copied_run)


def test_whole_numbers_for_weights_are_refused(copied_run):
    edit_tensors(copied_run, lambda t: t.update({"head.scale": t["head.scale"].long()}))
    assert "head.scale" in refusal(copied_run)


@pytest.mark.parametrize("weights", ["auto", "own.pth", "../own.safetensors", None])
def test_a_record_cannot_name_a_file_of_this_machine(copied_run, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(tiny_body().tensors, tmp_path / "own.pth")
    edit(copied_run, body={"weights": weights, "sha256": "0" * 64})
    assert "expected a body by its hash" in refusal(copied_run)
    edit(copied_run, body={"weights": "file:own.pth", "sha256": "../../own"})
    assert "expected a body by its hash" in refusal(copied_run)


def test_a_head_that_the_file_does_not_hold_takes_no_memory(copied_run):
    settings = json.loads((copied_run / RECORD).read_text())["settings"]
    settings["head"] = {"pooling": "flatten", "hidden": [4096, 4096], "dropout": 0.5}
    transform = json.loads((copied_run / RECORD).read_text())["transform"]
    edit(copied_run, settings=settings, transform=transform | {"image_size": 512})
    assert "(131072,)" in refusal(copied_run)
    edit(copied_run, transform=transform | {"image_size": 100_000})
    assert "expected images of 32 to 512 pixels" in refusal(copied_run)


@pytest.mark.parametrize("classes", [[], [1, 2, 3], ["a", None, "b"]], ids=str)
def test_classes_without_names_are_refused(copied_run, classes):
    edit(copied_run, classes=classes)
    assert "expected names of classes" in refusal(copied_run)
