"""The file that a training under way keeps: whole or the one before it, and how often."""

import contextlib
import json
import resource
import signal
import stat

import pytest
import torch
from safetensors.torch import save_file

from transfer.runs import checkpoint
from transfer.runs.checkpoint import (
    FILE,
    FORMAT_VERSION,
    LARGEST_SHARE_OF_TIME,
    PART,
    SECONDS_BETWEEN,
    CheckpointWriter,
    has_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

RECORD = {"epoch": 3, "loss": 0.1 + 0.2, "lowest": float("inf")}
TENSORS = {"a/b": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}


def names(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def clock(monkeypatch):
    """Seconds since some moment, which only the test moves on."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def test_what_is_read_is_what_was_written_last(tmp_path):
    assert not has_checkpoint(tmp_path) and read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, {}, {})
    write_checkpoint(tmp_path, RECORD, TENSORS)
    record, tensors = read_checkpoint(tmp_path)
    assert record == RECORD | {"format_version": FORMAT_VERSION}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert has_checkpoint(tmp_path) and names(tmp_path) == [FILE]


def test_tensors_that_lie_otherwise_in_memory_are_written_too(tmp_path):
    turned = {"t": torch.arange(6.0).reshape(2, 3).T, "grad": torch.ones(2, requires_grad=True)}
    write_checkpoint(tmp_path, {}, turned)
    _, tensors = read_checkpoint(tmp_path)
    assert torch.equal(tensors["t"], turned["t"]) and tensors["grad"].tolist() == [1, 1]


def test_nobody_but_its_owner_reads_it_and_it_is_no_pickle(tmp_path):
    write_checkpoint(tmp_path, RECORD, TENSORS)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert not (tmp_path / FILE).read_bytes().startswith((b"PK", b"\x80"))


def test_what_was_read_does_not_change_with_the_file(tmp_path):
    write_checkpoint(tmp_path, RECORD, TENSORS)
    _, tensors = read_checkpoint(tmp_path)
    size = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("r+b") as file:
        file.write(b"\0" * size)
    assert torch.equal(tensors["a/b"], TENSORS["a/b"])


def test_a_part_left_by_a_kill_does_not_matter(tmp_path):
    (tmp_path / PART).write_bytes(b"half of it")
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, RECORD, TENSORS)
    assert read_checkpoint(tmp_path)[0]["epoch"] == 3
    assert names(tmp_path) == [FILE]


def text(record: str) -> dict:
    return {"training": record}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        text(""),
        text("{"),
        text("[1, 2]"),
        text("3"),
        text("{}"),
        text("[" * 100_000),
        text(json.dumps({"format_version": FORMAT_VERSION + 1})),
        text(json.dumps({"format_version": str(FORMAT_VERSION)})),
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_safetensors_that_are_no_checkpoint_of_this_format_count_as_none(tmp_path, metadata):
    save_file(TENSORS, tmp_path / FILE, metadata)
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_file_that_was_cut_counts_as_none(tmp_path, left):
    write_checkpoint(tmp_path, RECORD, TENSORS)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:left])
    assert read_checkpoint(tmp_path) is None


def test_another_file_or_a_folder_in_its_place_counts_as_none(tmp_path):
    (tmp_path / FILE).write_text("notes")
    assert read_checkpoint(tmp_path) is None
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert read_checkpoint(tmp_path) is None and not has_checkpoint(tmp_path)


def test_a_full_disk_keeps_the_one_before_and_leaves_no_part(tmp_path):
    write_checkpoint(tmp_path, RECORD, TENSORS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError):
            write_checkpoint(tmp_path, {"epoch": 4}, {"large": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert read_checkpoint(tmp_path)[0]["epoch"] == 3
    assert names(tmp_path) == [FILE]


def slow(clock, seconds: float, made: list):
    def make():
        made.append(clock[0])
        clock[0] += seconds
        return {}, {}

    return make


def test_the_first_checkpoint_comes_at_once_and_the_next_after_a_pause(tmp_path, clock):
    keeper, made = CheckpointWriter(tmp_path), []
    for _ in range(10):
        keeper.offer(slow(clock, 0.0, made))
        clock[0] += SECONDS_BETWEEN / 4
    assert made == [1000.0, 1001.0, 1002.0]


@pytest.mark.parametrize("seconds", [0.01, 0.5, 4.0])
@pytest.mark.parametrize("epoch", [0.1, 7.0])
def test_writing_takes_at_most_a_twentieth_of_the_time(tmp_path, clock, seconds, epoch):
    keeper, made, began = CheckpointWriter(tmp_path), [], clock[0]
    while clock[0] < began + 2000:
        keeper.offer(slow(clock, seconds, made))
        clock[0] += epoch
    assert len(made) > 10
    assert seconds * (len(made) - 1) <= LARGEST_SHARE_OF_TIME * (clock[0] - began)


def test_a_disk_that_was_full_is_tried_again_only_after_a_pause(tmp_path, clock):
    keeper, tried = CheckpointWriter(tmp_path / "gone"), []
    for _ in range(8):
        with contextlib.suppress(OSError):
            keeper.offer(slow(clock, 0.1, tried))
        clock[0] += SECONDS_BETWEEN / 2
    assert 2 <= len(tried) <= 3
