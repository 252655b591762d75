import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import transfer
from tests.tiny import TINY
from transfer import events
from transfer.jobs import worker
from transfer.jobs.worker import StdinStopSignal
from transfer.runs import checkpoint
from transfer.runs.run import read_run

QUICK = TINY | {"head_epochs": 1, "finetune_epochs": 1, "views": 1}


def test_what_takes_long_is_imported_before_there_is_a_job():
    script = (
        "import sys, transfer.jobs.worker as w; w.main(); "
        "print(sorted(set(w.NEEDED) - set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == {"ready": True}
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_stop_is_an_interrupt_only_while_there_is_nothing_to_keep(monkeypatch):
    sent = []
    monkeypatch.setattr(worker, "_interrupt", lambda: sent.append(1))
    monkeypatch.setattr(worker.os, "_exit", lambda status: None)
    monkeypatch.setattr(worker, "SECONDS_TO_CLEAR_UP", 0)
    early, late = StdinStopSignal(), StdinStopSignal()
    early.listen(["stop\n"])
    assert len(sent) == 2  # the second one tells that whoever asked is gone
    late.begin_to_learn()
    late.listen(["stop\n"])
    assert len(sent) == 3 and late.stop.is_set()


def test_a_stop_that_came_first_leaves_nothing_to_learn():
    wishes = StdinStopSignal()
    wishes.stop.set()
    wishes.begin_to_learn()
    assert not wishes.learning
    with pytest.raises(KeyboardInterrupt):
        wishes.should_stop()


def started(*command: str) -> subprocess.Popen:
    root = str(Path(transfer.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, *(command or ("-m", "transfer.jobs.worker"))],
        env=os.environ | {"PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def order(process: subprocess.Popen, source: Path, out: Path, **options) -> None:
    line = json.dumps({"source": str(source), "out": str(out), "options": QUICK | options})
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.mark.slow
def test_a_worker_trains_and_ends(stripes, tmp_path):
    with started() as process:
        assert json.loads(process.stdout.readline()) == {"ready": True}
        order(process, stripes, tmp_path / "run")
        told = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=20) == 0, process.stderr.read()
    assert told[0]["event"] == "WeightsChosen"
    saved = events.from_json(told[-1])
    assert isinstance(saved, events.RunSaved)
    assert saved.result["accuracy"] == read_run(tmp_path / "run").accuracy


@pytest.mark.slow
def test_a_worker_whose_asker_goes_leaves_a_checkpoint_alone(stripes, tmp_path):
    with started() as process:
        process.stdout.readline()
        order(process, stripes, tmp_path / "run", finetune_epochs=10_000)
        assert any("EpochDone" in line for line in iter(process.stdout.readline, ""))
        assert (tmp_path / "run").exists()
        process.stdin.close()
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=20) == 0
    assert rest[-1] == {"stopped": True}
    left = {path.name for path in (tmp_path / "run").rglob("*")}
    assert left - {checkpoint.PART} == {"checkpoint", "lock", checkpoint.FILE}


def test_a_worker_that_is_never_asked_ends():
    with started() as process:
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == {"ready": True}
        assert process.stdout.read() == ""
        assert process.wait(timeout=20) == 0


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_worker_that_nobody_hears_ends():
    with pytest.raises(KeyboardInterrupt):
        worker._say(Broken(), {"ready": True})


ORDER = json.dumps({"source": "x", "out": "y", "options": {}}) + "\n"
STUCK = """
import sys, time, types
recipe = types.ModuleType("transfer.training.recipe")
def training_events(source, out, should_stop, resume):
    from transfer import events
    yield events.WeightsChosen(weights="random", reason="asked for")
    lock = __import__("threading").Lock()
    lock.acquire()
    {waits}
recipe.training_events = training_events
sys.modules["transfer.training.recipe"] = recipe
import transfer.jobs.worker as worker
worker.NEEDED, worker.SECONDS_TO_CLEAR_UP = (), 1
worker.main()
"""
DEAF = """
    while True:
        try:
            print("deaf", flush=True)
            lock.acquire()
        except KeyboardInterrupt:
            pass
"""


def stuck(waits: str) -> subprocess.Popen:
    """A worker whose training has come to where it waits for ever."""
    process = started("-c", STUCK.format(waits=waits))
    process.stdout.readline()
    process.stdin.write(ORDER)
    process.stdin.flush()
    assert "WeightsChosen" in process.stdout.readline()
    return process


def test_a_stop_ends_what_waits_for_a_lock_as_in_a_download():
    with stuck("lock.acquire()") as process:
        began = time.monotonic()
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"stopped": True}
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < 15


def test_a_worker_that_hears_nothing_ends_soon_after_whoever_asked():
    with stuck(DEAF.strip()) as process:
        assert process.stderr.readline() == "deaf\n"
        process.stdin.close()
        assert process.wait(timeout=20) == 1


def test_what_is_printed_elsewhere_does_not_break_the_lines():
    with stuck("__import__('subprocess').run(['echo', 'hello']); lock.acquire()") as process:
        assert process.stderr.readline() == "hello\n"
        process.stdin.close()
        assert process.stdout.read() == '{"stopped": true}\n'
