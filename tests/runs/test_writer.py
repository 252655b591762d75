import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from transfer.errors import RunError
from transfer.runs import checkpoint
from transfer.runs.checkpoint import FILE, PART, SAVING
from transfer.runs.run import CHECKPOINT, RECORD, REPORT, STAGES, TENSORS
from transfer.runs.writer import LOCK, RESERVED, RunWriter, is_unfinished

FILES = {RECORD, TENSORS, REPORT}


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(path, match: str = "expected|cannot be created", **options) -> None:
    with pytest.raises(RunError, match=match) as caught, RunWriter(path, **options):
        raise AssertionError("must not start")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("existed", [False, True])
def test_an_unfinished_run_leaves_nothing(tmp_path, existed):
    path = tmp_path if existed else tmp_path / "deep" / "run"
    with pytest.raises(ZeroDivisionError), RunWriter(path) as writer:
        writer.save_checkpoint(lambda: pytest.fail("only with resume"))
        (writer.checkpoint / TENSORS).write_bytes(b"1")
        for name in (REPORT, STAGES):
            (writer.path / name).write_text("{}")
        raise ZeroDivisionError
    assert (names(path) == set()) if existed else not path.exists()


def test_run_json_which_makes_a_folder_a_run_is_put_in_place_last(tmp_path, monkeypatch):
    moved, replace = [], Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda file, to: moved.append(to.name) or replace(file, to)
    )
    with RunWriter(tmp_path / "run") as writer:
        writer.finish({"classes": []}, {"accuracy": 0.0}, {"weight": torch.zeros(1)})
    assert moved[-1] == RECORD and set(moved) == FILES == names(tmp_path / "run")


def test_a_folder_or_file_of_somebody_else_is_refused_and_unchanged(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused(tmp_path, "with something in it")
    refused(tmp_path / "notes.txt")
    refused(tmp_path / "notes.txt" / "below")
    (tmp_path / "other" / CHECKPOINT).mkdir(parents=True)
    (tmp_path / "other" / CHECKPOINT / "optimizer.pt").write_text("mine")
    refused(tmp_path / "other", "with something in it", resume=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert names(tmp_path / "other" / CHECKPOINT) == {"optimizer.pt"}


def test_a_process_that_does_not_write_leaves_the_folder_alone(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with RunWriter(tmp_path / "run", writes=False, resume=True) as writer:
        writer.save_checkpoint(lambda: pytest.fail("only one process writes"))
        writer.finish({"classes": []}, {"accuracy": 0.0}, {})
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_full_disk_does_not_end_the_training_and_is_logged_once(tmp_path, monkeypatch, caplog):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", -1.0)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE_OF_TIME", float("inf"))
    with RunWriter(tmp_path / "run", resume=True) as writer:
        for _ in range(3):
            writer.save_checkpoint(full)
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned == ["no checkpoint was written (No space left on device)"]


def test_with_resume_only_the_checkpoint_stays(tmp_path):
    path = tmp_path / "run"
    with RunWriter(path, resume=True):
        pass
    assert not path.exists(), "without a checkpoint there is nothing to resume"
    with pytest.raises(ZeroDivisionError), RunWriter(path, resume=True) as writer:
        writer.save_checkpoint(lambda: ({"epoch": 1}, {}))
        refused(path, "one that is running", resume=True)
        raise ZeroDivisionError
    assert names(path) == {CHECKPOINT} and FILE in names(path / CHECKPOINT)
    assert is_unfinished(path)
    refused(path, "--resume")
    with RunWriter(path, resume=True) as writer:
        writer.finish({"classes": []}, {"accuracy": 0.0}, {"a": torch.zeros(1)}, stages=b"heads")
    assert names(path) == FILES | {STAGES} and not is_unfinished(path)
    assert (path / STAGES).read_bytes() == b"heads"
    refused(path, "with something in it", resume=True)


def test_what_a_killed_training_left_without_a_checkpoint_counts_as_empty(tmp_path):
    """But not while it runs, nor where the disk cannot tell."""
    run, checkpoint = tmp_path / "run", tmp_path / "run" / CHECKPOINT
    checkpoint.mkdir(parents=True)
    left = (LOCK, RESERVED, RECORD, f"{SAVING}cjZLfB")
    for path in (*(checkpoint / name for name in left), run / STAGES):
        path.write_bytes(b"")
    with RunWriter(run) as writer:
        refused(run, "one that is running")
        writer.finish({"classes": []}, {"accuracy": 0.0}, {"a": torch.zeros(1)})
    assert names(run) == FILES


def test_on_a_disk_without_locks_it_does_not(tmp_path, monkeypatch):
    (tmp_path / CHECKPOINT).mkdir()
    (tmp_path / CHECKPOINT / LOCK).touch()

    def acquire(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", acquire)
    refused(tmp_path, "an unfinished training")


def test_room_that_is_taken_is_there_at_the_end(tmp_path):
    with RunWriter(tmp_path / "run") as writer:
        for size in (2_500_000, 1_500_000):
            writer.reserve(size)
            assert (writer.checkpoint / RESERVED).stat().st_size == size
        shutil.rmtree(writer.path)  # by somebody who tidies up
        writer.finish({"classes": []}, {"accuracy": 0.0}, {"a": torch.zeros(1)})
    assert names(tmp_path / "run") == FILES


def test_with_a_checkpoint_nothing_is_saved_elsewhere(tmp_path, monkeypatch, cache):
    def full(_):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(RunError, match=r"\(No space left on device\); make room, then resume"),
        RunWriter(tmp_path / "run", resume=True) as writer,
    ):
        writer.save_checkpoint(lambda: ({"epoch": 1}, {}))
        monkeypatch.setattr("transfer.runs.writer.sync", full)
        writer.finish({"classes": []}, {"accuracy": 0.0}, {"a": torch.zeros(1)})
    assert names(tmp_path / "run" / CHECKPOINT) >= {FILE} and not cache.exists()


@pytest.mark.parametrize("moved", [(), (TENSORS, STAGES, REPORT)])
def test_a_kill_while_the_files_are_moved_leaves_an_unfinished_run(tmp_path, moved):
    (tmp_path / CHECKPOINT).mkdir()
    for name in (FILE, PART, LOCK, RECORD, f"{SAVING}cjZLfB"):
        (tmp_path / CHECKPOINT / name).write_bytes(b"")
    for name in moved:
        (tmp_path / name).write_bytes(b"")
    assert is_unfinished(tmp_path)
    (tmp_path / RECORD).write_text("{}")
    assert not is_unfinished(tmp_path)
