import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import transfer
from tests.tiny import TINY
from transfer import events, recipe, worker
from transfer.errors import SourceError
from transfer.run_folder import read_run

QUICK = TINY | {"head_epochs": 1, "finetune_epochs": 1, "views": 1}
PHASE = events.PhaseStarted(phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"])
CHOSEN = events.WeightsChosen(weights="random", reason="asked for")
SAVED = events.RunSaved(run="runs/x", result={})


def said(monkeypatch, training, *, stopped: bool = False, stop=None, gone=None) -> list[dict]:
    """What a worker says of a training that yields the given events, or raises them."""

    def training_events(source, *, out, should_stop, **options):
        assert (source, out, options) == ("photos", "runs/x", {"seed": 3})
        for event in training:
            if isinstance(event, Exception):
                raise event
            yield event

    monkeypatch.setattr(recipe, "training_events", training_events)
    stop = stop or threading.Event()
    if stopped:
        stop.set()
    lines = io.StringIO()
    order = {"source": "photos", "out": "runs/x", "options": {"seed": 3}}
    worker._train(order, lines, stop, gone or threading.Event())
    return [json.loads(line) for line in lines.getvalue().splitlines()]


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
    assert [events.from_json(message) for message in told] == [CHOSEN, PHASE, SAVED]


def test_of_passing_events_only_a_few_a_second_are_passed_on(monkeypatch):
    progress = [
        events.CacheProgress(stage="reading images", done=i, total=500, seconds=0.0)
        for i in range(500)
    ]
    told = said(monkeypatch, [CHOSEN, *progress, SAVED])
    assert len(told) < 50
    assert told[0]["event"] == "WeightsChosen" and told[-1]["event"] == "RunSaved"


def test_an_error_is_passed_on_as_its_sentence(monkeypatch):
    told = said(monkeypatch, [CHOSEN, SourceError("expected images, found none")])
    assert told[1:] == [{"error": "expected images, found none"}]


def test_want_of_memory_is_told_with_what_to_do(monkeypatch):
    assert "smaller image size" in said(monkeypatch, [MemoryError()])[0]["error"]


def test_anything_else_is_named_and_its_trace_goes_to_the_log(monkeypatch, capsys):
    told = said(monkeypatch, [ValueError("/secret/path")])
    assert "ValueError" in told[0]["error"] and "/secret" not in told[0]["error"]
    assert "Traceback" in capsys.readouterr().err


def test_a_stop_before_anything_was_learned_keeps_nothing(monkeypatch):
    assert said(monkeypatch, [CHOSEN, PHASE, SAVED], stopped=True) == [{"stopped": True}]


def test_a_stop_while_it_learns_lets_it_finish(monkeypatch):
    stop = threading.Event()

    def training():
        yield PHASE
        stop.set()
        yield SAVED

    told = said(monkeypatch, training(), stop=stop)
    assert [message["event"] for message in told] == ["PhaseStarted", "RunSaved"]


def started() -> subprocess.Popen:
    root = str(Path(transfer.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-m", "transfer.worker"],
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
    gone = threading.Event()
    gone.set()
    with pytest.raises(KeyboardInterrupt):
        said(monkeypatch, [CHOSEN, PHASE, SAVED], gone=gone)
