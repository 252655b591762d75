import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import transfer
from tests.tiny import TINY
from transfer import events, recipe, worker
from transfer.errors import SourceError
from transfer.run_folder import read_run
from transfer.worker import Wishes

QUICK = TINY | {"head_epochs": 1, "finetune_epochs": 1, "views": 1}
PHASE = events.PhaseStarted(phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"])
FEATURES = events.PhaseStarted(
    phase="features", epochs=0, trainable=1, parameters=2, learns=["head"]
)
CHOSEN = events.WeightsChosen(weights="random", reason="asked for")
SAVED = events.RunSaved(run="runs/x", result={})


def said(monkeypatch, training, wishes: Wishes | None = None, **more) -> list[dict]:
    """What a worker says of a training that yields the given events, or raises them."""

    def training_events(source, *, out, should_stop, **options):
        assert (source, out, options) == ("photos", "runs/x", {"seed": 3} | more)
        for event in training:
            if isinstance(event, Exception):
                raise event
            yield event

    monkeypatch.setattr(recipe, "training_events", training_events)
    lines = io.StringIO()
    order = {"source": "photos", "out": "runs/x", "options": {"seed": 3} | more}
    with suppress(KeyboardInterrupt):
        worker._train(order, lines, wishes or Wishes())
        lines.write('{"ended": true}\n')
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def kinds(told: list[dict]) -> list[str]:
    """What was said, in order, of a training that came to its end."""
    assert told[-1] == {"ended": True}
    return [message["event"] for message in told[:-1]]


def test_what_takes_long_is_imported_before_there_is_a_job():
    script = (
        "import sys, transfer.worker as w; w.main(); "
        "print(sorted(set(w.NEEDED) - set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == {"ready": True}
    assert done.stderr.splitlines()[-1] == "[]"


def test_events_are_passed_on_line_by_line(monkeypatch):
    told = said(monkeypatch, [CHOSEN, PHASE, SAVED])
    assert [events.from_json(message) for message in told[:-1]] == [CHOSEN, PHASE, SAVED]


def test_of_passing_events_only_a_few_a_second_are_passed_on(monkeypatch):
    progress = [
        events.CacheProgress(stage="reading images", done=i, total=500, seconds=0.0)
        for i in range(500)
    ]
    told = said(monkeypatch, [CHOSEN, *progress, SAVED])
    assert len(told) < 50
    assert kinds(told)[0] == "WeightsChosen" and kinds(told)[-1] == "RunSaved"


def test_an_error_is_passed_on_as_its_sentence(monkeypatch):
    told = said(monkeypatch, [CHOSEN, SourceError("expected images, found none")])
    assert told[1] == {"error": "expected images, found none"}


def test_want_of_memory_is_told_with_what_to_do(monkeypatch):
    assert "smaller image size" in said(monkeypatch, [MemoryError()])[0]["error"]


def test_anything_else_is_named_and_its_trace_goes_to_the_log(monkeypatch, capsys):
    told = said(monkeypatch, [ValueError("/secret/path")])
    assert "ValueError" in told[0]["error"] and "/secret" not in told[0]["error"]
    assert "Traceback" in capsys.readouterr().err


def test_a_stop_before_there_is_something_to_keep_ends_it(monkeypatch):
    wishes = Wishes()

    def training():
        yield CHOSEN
        yield FEATURES
        wishes.stop.set()
        yield PHASE
        yield SAVED

    told = said(monkeypatch, training(), wishes)
    assert [message["event"] for message in told] == ["WeightsChosen", "PhaseStarted"]


def test_a_stop_while_it_learns_lets_it_finish(monkeypatch):
    wishes = Wishes()

    def training():
        yield PHASE
        wishes.stop.set()
        yield SAVED

    told = said(monkeypatch, training(), wishes)
    assert kinds(told) == ["PhaseStarted", "RunSaved"]


def test_of_feature_extraction_the_classifier_is_kept(monkeypatch):
    wishes = Wishes()

    def training():
        yield FEATURES
        wishes.stop.set()
        yield SAVED

    told = said(monkeypatch, training(), wishes, method="features")
    assert kinds(told) == ["PhaseStarted", "RunSaved"]


def test_a_stop_is_an_interrupt_only_while_there_is_nothing_to_keep(monkeypatch):
    sent = []
    monkeypatch.setattr(worker, "_interrupt", lambda: sent.append(1))
    monkeypatch.setattr(worker.os, "_exit", lambda status: None)
    monkeypatch.setattr(worker, "SECONDS_TO_CLEAR_UP", 0)
    early, late = Wishes(), Wishes()
    early.listen(["stop\n"])
    assert len(sent) == 2  # the second one tells that whoever asked is gone
    late.begin_to_learn()
    late.listen(["stop\n"])
    assert len(sent) == 3 and late.stop.is_set()


def test_a_stop_that_came_first_leaves_nothing_to_learn():
    wishes = Wishes()
    wishes.stop.set()
    wishes.begin_to_learn()
    assert not wishes.learning
    with pytest.raises(KeyboardInterrupt):
        wishes.should_stop()


def started(*command: str) -> subprocess.Popen:
    root = str(Path(transfer.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, *(command or ("-m", "transfer.worker"))],
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
def test_a_worker_whose_asker_goes_leaves_nothing(stripes, tmp_path):
    with started() as process:
        process.stdout.readline()
        order(process, stripes, tmp_path / "run", finetune_epochs=10_000)
        while "EpochDone" not in process.stdout.readline():
            pass
        assert (tmp_path / "run").exists()
        process.stdin.close()
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=20) == 0
    assert rest[-1] == {"stopped": True}
    assert not (tmp_path / "run").exists()


def test_a_worker_that_is_never_asked_ends():
    with started() as process:
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == {"ready": True}
        assert process.stdout.read() == ""
        assert process.wait(timeout=20) == 0


def test_an_interrupt_that_was_lost_is_made_up_for(monkeypatch):
    wishes = Wishes()
    wishes.gone.set()
    assert said(monkeypatch, [CHOSEN, PHASE, SAVED], wishes) == []


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_worker_that_nobody_hears_ends():
    with pytest.raises(KeyboardInterrupt):
        worker._say(Broken(), {"ready": True})


ORDER = json.dumps({"source": "x", "out": "y", "options": {}}) + "\n"
STUCK = """
import sys, time, types
recipe = types.ModuleType("transfer.recipe")
def training_events(source, out, should_stop):
    from transfer import events
    yield events.WeightsChosen(weights="random", reason="asked for")
    lock = __import__("threading").Lock()
    lock.acquire()
    {waits}
recipe.training_events = training_events
sys.modules["transfer.recipe"] = recipe
import transfer.worker as worker
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
        assert time.monotonic() - began < 2


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
