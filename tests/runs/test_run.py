import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import tiny_body, tiny_network
from transfer.data.source import load_splits
from transfer.errors import RunError, TransferError
from transfer.runs.run import (
    FAMILIARITY,
    FORMAT_VERSION,
    RECORD,
    REPORT,
    STAGES,
    TENSORS,
    changed_tensors,
    read_network,
    read_run,
)

FILES = {RECORD, TENSORS, REPORT}


def refusal(path, kind=RunError) -> str:
    with pytest.raises(kind) as caught:
        read_network(read_run(path))
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and str(path.parent) not in text
    return text


def edit(path, **change) -> None:
    record = json.loads((path / RECORD).read_text()) | change
    (path / RECORD).write_text(json.dumps(record))


def test_a_finished_run_is_five_files_and_none_is_a_pickle(run):
    assert {path.name for path in run.path.iterdir()} == FILES | {STAGES, FAMILIARITY}
    for name in (TENSORS, STAGES, FAMILIARITY):
        assert not (run.path / name).read_bytes().startswith((b"PK", b"\x80"))
    again = read_run(run.path)
    assert again.record == json.loads(json.dumps(run.record))
    assert again.classes == run.classes == ("across", "down", "spots")
    assert again.settings == run.settings and again.accuracy == run.accuracy
    assert again.settings.image_size == again.transform.image_size == 32


def test_only_the_head_and_changed_body_tensors_are_stored(run):
    stored = set(load_file(run.path / TENSORS))
    head = {f"head.{name}" for name in read_network(run).head.state_dict()}
    own_head = {f"head.{name}" for name in tiny_network().head.state_dict()}
    block5 = {"features.16.weight", "features.16.bias", "features.18.weight", "features.18.bias"}
    assert stored == head | block5
    network, body = tiny_network(), tiny_body().tensors
    with torch.no_grad():
        network.features[8].bias[3] += 1e-12
    assert set(changed_tensors(network, body)) == own_head | {"features.8.bias"}


def test_a_loaded_network_gives_the_scores_of_the_report(run, stripes):
    """The report was made before the run was saved."""
    network, transform = read_network(run), run.transform
    assert not network.training
    split = load_splits(str(stripes), run.settings).splits["test"]
    pixels = np.stack([transform.pixels(split.read(i)) for i in range(len(split))])
    with torch.no_grad():
        scores = network(transform.normalise(torch.from_numpy(pixels))).softmax(1).numpy()
    right = scores.argmax(1) == split.labels
    assert right.mean() == run.accuracy
    wrong = {split.names[i]: scores[i].max() for i in np.flatnonzero(~right)}
    reported = {mistake["name"]: mistake["score"] for mistake in run.report["mistakes"]}
    assert wrong == pytest.approx(reported, abs=1e-5)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_cut_file_is_named(copied_run, name):
    content = (copied_run / name).read_bytes()
    for left in (0, -1):
        (copied_run / name).write_bytes(content[:left])
        assert f"the run's {name} is cut or damaged" in refusal(copied_run)
    (copied_run / name).unlink()
    assert name in refusal(copied_run)


def test_a_folder_that_is_missing_or_no_run_is_named(tmp_path):
    assert "found none called 'nothing'" in refusal(tmp_path / "nothing")
    assert f"found no {RECORD}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 2}, f"expected a run of format {FORMAT_VERSION}, found 2"),
        ({"settings": None}, "'settings'"),
        ({"classes": ["a", None, "b"]}, "expected class names"),
        ({"classes": ["across", "down", "spots", "waves"]}, "(4, "),
        ({"settings": {"method": "finetune"}}, "cannot be read"),
        ({"body": {"weights": "random", "sha256": "0" * 64}}, "sha256 000000000000"),
        ({"transform": {"image_size": "large"}}, "transform cannot be read"),
    ],
    ids=str,
)
def test_a_damaged_record_is_one_line(copied_run, change, words):
    edit(copied_run, **change)
    assert words in refusal(copied_run, TransferError)


@pytest.mark.parametrize("text", ["[1, 2]", '{"accuracy": null}'])
def test_a_damaged_report_is_one_line(copied_run, text):
    (copied_run / REPORT).write_text(text)
    assert REPORT in refusal(copied_run)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("features.18.weight", torch.zeros(512, 256, 3, 3), "(512, 512, 3, 3) in the run's"),
        ("features.99.weight", torch.zeros(1), "features.99.weight"),
        ("head.mean", None, "expected the tensor head.mean"),
        ("head.scale", torch.full((512,), torch.nan), "expected finite numbers in head.scale"),
        ("head.scale", torch.ones(512, dtype=torch.int64), "head.scale"),
    ],
    ids=["shape", "unknown", "missing", "nan", "integers"],
)
def test_tensors_that_do_not_fit_are_named(copied_run, name, tensor, words):
    stored = load_file(copied_run / TENSORS) | {name: tensor}
    save_file({n: t for n, t in stored.items() if t is not None}, copied_run / TENSORS)
    assert words in refusal(copied_run)


def test_a_record_cannot_name_a_file_of_this_machine(copied_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(tiny_body().tensors, tmp_path / "own.pth")
    for weights in ("auto", "own.pth", "../own.safetensors", None):
        edit(copied_run, body={"weights": weights, "sha256": "0" * 64})
        assert "expected a body by its hash" in refusal(copied_run)
    edit(copied_run, body={"weights": "file:own.pth", "sha256": "../../own"})
    assert "expected a body by its hash" in refusal(copied_run)


def test_a_huge_head_that_the_file_does_not_hold_takes_no_memory(copied_run):
    record = json.loads((copied_run / RECORD).read_text())
    head = {"pooling": "flatten", "hidden": [4096, 4096], "dropout": 0.5}
    transform = record["transform"] | {"image_size": 512}
    edit(copied_run, settings=record["settings"] | {"head": head}, transform=transform)
    assert "(131072,)" in refusal(copied_run)
    edit(copied_run, transform=transform | {"image_size": 100_000})
    assert "expected images of 32 to 512 pixels" in refusal(copied_run)
