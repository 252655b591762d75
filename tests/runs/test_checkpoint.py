import contextlib
import json
import resource
import signal
import stat
import threading

import pytest
import torch
from safetensors.torch import save_file

from transfer.runs import checkpoint
from transfer.runs.checkpoint import (
    FILE,
    FORMAT_VERSION,
    PART,
    SAVING,
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


def test_what_is_being_written_has_a_name_that_is_known(tmp_path):
    """A killed training leaves it, and the next one must not take it for somebody's file."""
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.update(names(tmp_path))

    watching = threading.Thread(target=watch)
    watching.start()
    for _ in range(20):  # on a busy machine it may not look in time
        write_checkpoint(tmp_path, {}, {"a": torch.zeros(10_000_000)})
        if others := seen - {FILE, PART}:
            break
    done.set()
    watching.join()
    assert others and all(name.startswith(SAVING) for name in others)


@pytest.mark.parametrize(
    "text", [None, "{", "[1, 2]", "[" * 100_000, json.dumps({"format_version": FORMAT_VERSION + 1})]
)
def test_other_and_cut_files_count_as_none(tmp_path, text):
    save_file({"a": torch.zeros(2)}, tmp_path / FILE, text and {"training": text})
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, RECORD, TENSORS)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
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


@pytest.mark.parametrize("folder", ["", "missing"])
@pytest.mark.parametrize(("seconds", "epoch"), [(0.0, 0.25), (0.5, 0.1), (4.0, 7.0)])
def test_checkpoints_take_at_most_a_twentieth_of_the_time(
    tmp_path, monkeypatch, folder, seconds, epoch
):
    writer, made, clock = CheckpointWriter(tmp_path / folder), [], [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])

    def make():
        made.append(clock[0])
        clock[0] += seconds
        return {}, {}

    while len(made) < 12:
        with contextlib.suppress(OSError):
            writer.write_if_due(make)
        clock[0] += epoch
    assert made[0] == 1000
    assert made[1] - made[0] >= checkpoint.SECONDS_BETWEEN
    assert seconds * (len(made) - 1) <= checkpoint.LARGEST_SHARE_OF_TIME * (clock[0] - made[0])
