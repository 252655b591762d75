import shutil

import pytest
import torch

from transfer.errors import RunError
from transfer.runs.checkpoint import FILE, PART, write_checkpoint
from transfer.runs.run import CHECKPOINT, RECORD, REPORT, STAGES, TENSORS
from transfer.runs.writer import LOCK, RunWriter, is_unfinished

FILES = {RECORD, TENSORS, REPORT}


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_not_finished_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path / "deep" / "run") as builder:
        (builder.checkpoint / "pixels.bin").write_bytes(b"1")
        for name in (REPORT, STAGES):
            (builder.path / name).write_text("{}")
        raise ZeroDivisionError
    assert not (tmp_path / "deep" / "run").exists()


def test_an_empty_folder_that_was_there_before_stays(tmp_path):
    with RunWriter(tmp_path) as builder:
        assert builder.checkpoint.is_dir()
    assert tmp_path.is_dir() and names(tmp_path) == set()


def test_a_folder_with_something_in_it_is_refused_and_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="with something in it"), RunWriter(tmp_path):
        raise AssertionError("must not begin")
    assert names(tmp_path) == {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way_is_refused_and_untouched(tmp_path):
    (tmp_path / "run").write_text("mine")
    for place in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(RunError) as caught, RunWriter(place):
            raise AssertionError("must not begin")
        assert "\n" not in str(caught.value)
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_is_empty_again_after_a_run_that_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path) as builder:
        for name in (REPORT, STAGES, TENSORS):
            (builder.path / name).write_bytes(b"half")
        raise ZeroDivisionError
    assert names(tmp_path) == set()


def test_a_process_that_does_not_write_leaves_the_folder_alone(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with RunWriter(tmp_path / "run", writes=False) as builder:
        builder.finish({"classes": []}, {"accuracy": 0.0}, {})
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def cut_off(path, **options) -> None:
    """A training into `path` that ends in the middle."""
    with pytest.raises(ZeroDivisionError), RunWriter(path, **options) as builder:
        builder.keep(lambda: ({"epoch": 1}, {}))
        raise ZeroDivisionError


def test_with_resume_a_checkpoint_stays_and_only_that(tmp_path):
    cut_off(tmp_path / "run", resume=True)
    assert names(tmp_path / "run") == {CHECKPOINT}
    assert FILE in names(tmp_path / "run" / CHECKPOINT) and is_unfinished(tmp_path / "run")
    with pytest.raises(RunError, match="--resume"), RunWriter(tmp_path / "run"):
        raise AssertionError("must not begin")
    with RunWriter(tmp_path / "run", resume=True) as builder:
        builder.finish({"classes": []}, {"accuracy": 0.0}, {"a": torch.zeros(1)})
    assert names(tmp_path / "run") == FILES and not is_unfinished(tmp_path / "run")


def test_nothing_is_kept_where_nothing_can_be_gone_on_from(tmp_path):
    cut_off(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with RunWriter(tmp_path / "run", resume=True, writes=False) as builder:
        builder.keep(lambda: pytest.fail("only one process writes"))
    with RunWriter(tmp_path / "run", resume=True):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("moved", [(), (TENSORS,), (TENSORS, STAGES, REPORT)])
def test_a_kill_while_the_run_is_put_in_place_leaves_an_unfinished_one(tmp_path, moved):
    for name in (FILE, PART, LOCK, RECORD):
        (tmp_path / CHECKPOINT).mkdir(exist_ok=True)
        (tmp_path / CHECKPOINT / name).write_bytes(b"")
    for name in moved:
        (tmp_path / name).write_bytes(b"")
    assert is_unfinished(tmp_path)
    (tmp_path / RECORD).write_text("{}")
    assert not is_unfinished(tmp_path)


def test_a_folder_called_checkpoint_of_something_else_is_left_alone(tmp_path):
    (tmp_path / CHECKPOINT).mkdir()
    (tmp_path / CHECKPOINT / "optimizer.pt").write_text("mine")
    with pytest.raises(RunError, match="with something in it"), RunWriter(tmp_path, resume=True):
        raise AssertionError("must not begin")
    assert (tmp_path / CHECKPOINT / "optimizer.pt").read_text() == "mine"
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / CHECKPOINT).write_text("mine")
    assert not is_unfinished(tmp_path / "file")


@pytest.mark.parametrize("resume", [True, False])
def test_two_builders_do_not_write_into_one_folder(tmp_path, resume):
    with RunWriter(tmp_path / "run", resume=True) as first:
        write_checkpoint(first.checkpoint, {}, {})
        with pytest.raises(RunError), RunWriter(tmp_path / "run", resume=resume):
            raise AssertionError("must not begin")
        assert FILE in names(first.checkpoint)
    with RunWriter(tmp_path / "run", resume=True):
        pass
