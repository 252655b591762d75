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
TENSORS = {
    "a/b": torch.arange(6.0).reshape(2, 3).T,
    "steps": torch.tensor(7),
    "grad": torch.ones(2, requires_grad=True),
}


def names(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_latest_checkpoint_is_read_and_does_not_change_with_its_file(tmp_path):
    assert not has_checkpoint(tmp_path) and read_checkpoint(tmp_path) is None
    (tmp_path / PART).write_bytes(b"half of it")
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, {}, {})
    write_checkpoint(tmp_path, RECORD, TENSORS)
    assert has_checkpoint(tmp_path) and names(tmp_path) == [FILE]
    file = tmp_path / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    record, tensors = read_checkpoint(tmp_path)
    with file.open("r+b") as opened:
        opened.write(b"\0" * file.stat().st_size)
    assert record == RECORD | {"format_version": FORMAT_VERSION}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"training": "{"},
        {"training": "[1, 2]"},
        {"training": "[" * 100_000},
        {"training": json.dumps({"format_version": FORMAT_VERSION + 1})},
    ],
    ids=lambda metadata: str(metadata)[:30],
)
def test_other_safetensors_files_count_as_none(tmp_path, metadata):
    save_file({"a": torch.zeros(2)}, tmp_path / FILE, metadata)
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_cut_file_counts_as_none(tmp_path, left):
    write_checkpoint(tmp_path, RECORD, TENSORS)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:left])
    assert read_checkpoint(tmp_path) is None


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
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


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves forward."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def slow(clock, seconds: float, made: list):
    def make():
        made.append(clock[0])
        clock[0] += seconds
        return {}, {}

    return make


def test_the_first_checkpoint_is_written_at_once_and_the_next_after_a_pause(tmp_path, clock):
    writer, made = CheckpointWriter(tmp_path), []
    for _ in range(10):
        writer.write_if_due(slow(clock, 0.0, made))
        clock[0] += SECONDS_BETWEEN / 4
    assert made == [1000.0, 1001.0, 1002.0]


@pytest.mark.parametrize("folder", ["", "missing"])
@pytest.mark.parametrize(("seconds", "epoch"), [(0.5, 0.1), (4.0, 7.0)])
def test_checkpoints_take_at_most_a_twentieth_of_the_time(tmp_path, clock, folder, seconds, epoch):
    writer, made, began = CheckpointWriter(tmp_path / folder), [], clock[0]
    while clock[0] < began + 2000:
        with contextlib.suppress(OSError):
            writer.write_if_due(slow(clock, seconds, made))
        clock[0] += epoch
    assert len(made) > 10
    assert seconds * (len(made) - 1) <= LARGEST_SHARE_OF_TIME * (clock[0] - began)
