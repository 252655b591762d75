"""The worker as a process of its own, with trainings that are made up and with real ones."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.jobs.fake import CACHED, CACHING, CHOSEN, SETTINGS, kinds, phase
from tests.tiny import TINY
from tests.waiting import wait_for
from transfer import events
from transfer.errors import SourceError
from transfer.jobs import JobManager, Worker
from transfer.jobs.worker import PAUSED, carry_out
from transfer.runs.run import read_run
from transfer.training import recipe

ROOT = str(Path(__file__).parents[2])
LONG = TINY | {"head": "avg", "head_epochs": 10_000}
PATIENCE = 180  # seconds
WARM_UP = phase("warm-up")
TASK = {"source": "photos", "out": "runs/x", "settings": SETTINGS.to_json()}
SAVED = events.RunSaved(run="runs/x", result={})


@pytest.fixture
def messages(monkeypatch):
    """The messages of a training that yields the given events, or raises them."""

    def carried_out(training, until=None):
        def training_events(source, *, out, should_stop, resume, settings):
            assert (source, out, resume, settings) == ("photos", "runs/x", True, SETTINGS)
            for event in training:
                if isinstance(event, Exception):
                    raise event
                yield event

        monkeypatch.setattr(recipe, "training_events", training_events)
        for message in carry_out(TASK | {"until": until}, lambda: False):
            yield events.from_json(message) if "event" in message else message

    return carried_out


def test_events_are_passed_on_but_only_a_few_transient_ones_a_second(messages):
    found = list(messages([CHOSEN, *[CACHING] * 500, WARM_UP, SAVED]))
    assert found[0] == CHOSEN and found[-2:] == [WARM_UP, SAVED] and len(found) < 50


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SourceError("expected images, found none"), "expected images, found none"),
        (MemoryError(), "not enough memory; choose fewer or smaller images"),
        (OSError(122, "Quota exceeded", "/secret/x.bin"), "('x.bin': Quota exceeded)"),
        (ValueError("/secret/path"), "failed unexpectedly (ValueError)"),
    ],
)
def test_an_error_is_one_sentence_and_an_unknown_one_is_logged(messages, capsys, error, sentence):
    first, second = messages([CHOSEN, error])
    assert first == CHOSEN and sentence in second["error"] and "/secret" not in second["error"]
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ValueError)


def test_a_task_pauses_after_the_event_that_it_names(messages):
    assert [*messages([CHOSEN, CACHED, SAVED], "CacheFilled")] == [CHOSEN, CACHED, PAUSED]
    assert [*messages([CHOSEN, SAVED], "RunSaved")] == [CHOSEN, SAVED]


WAITING = """
import os, subprocess, sys, threading, time, types
recipe = types.ModuleType("transfer.training.recipe")
def training_events(source, out, should_stop, resume, settings):
    from transfer import events
    subprocess.run(["echo", "hello"])
    try:
        yield events.WeightsChosen(weights="random", reason="asked for")
        while not should_stop():
            time.sleep(0.01)
    finally:
        open(out + "/closed", "w").close()
recipe.training_events = training_events
sys.modules["transfer.training.recipe"] = recipe
import transfer.jobs.worker as worker
worker.NEEDED = ()
worker.main()
"""


@pytest.mark.parametrize(("by", "status"), [("stop", 0), ("end", 1), ("signals", 129)])
def test_a_worker_ends_when_it_is_stopped_and_when_the_app_is_gone(by, status, tmp_path):
    """And what a child process prints is no message. A signal closes the training."""
    worker = Worker((sys.executable, "-c", WAITING))
    worker.send(json.dumps(TASK | {"out": str(tmp_path)}))
    messages = worker.messages()
    assert next(messages) == events.to_json(CHOSEN)
    if by == "stop":
        worker.send("stop")
    elif by == "end":
        worker._process.stdin.close()
    else:
        for number in (signal.SIGHUP, signal.SIGTERM):
            worker._process.send_signal(number)
    assert list(messages) == [] and worker.wait() == status
    assert (tmp_path / "closed").exists() == (by != "end")


APP = """
import sys, time
from pathlib import Path
from transfer.jobs import JobManager
from transfer.settings import TrainingSettings
jobs = JobManager(Path(sys.argv[1]))
job = jobs.start(sys.argv[2], TrainingSettings.from_options(**{options}), "ann")
while not any(type(event).__name__ == "EpochDone" for event in job.history):
    time.sleep(0.05)
print(jobs._execution.worker.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_training_of_a_killed_app_is_resumed_and_a_stop_saves_what_it_learned(stripes, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", APP.format(options=LONG), str(tmp_path), str(stripes)],
        env=os.environ | {"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    ) as app:
        worker = int(app.stdout.readline())
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, app.pid)
        app.kill()
    wait_for(lambda: not psutil.pid_exists(worker))
    with closing(JobManager(tmp_path)) as jobs:
        job = jobs.newest_of("ann")
        assert job.state == "interrupted" and job.can_resume
        epochs = kinds(job.history).count("EpochDone")
        jobs.retry(job.id, "ann")
        wait_for(lambda: kinds(job.history).count("EpochDone") > epochs, seconds=PATIENCE)
        jobs.stop(job.id, "ann")
        wait_for(lambda: not job.live, seconds=PATIENCE)
    phases = {event.phase: event for event in job.history if isinstance(event, events.PhaseDone)}
    assert phases["warm-up"].ended.startswith("stopped") and phases["warm-up"].epochs < 10_000
    assert job.history[-1].result["accuracy"] == read_run(job.out).accuracy
    assert not (job.out / "checkpoint").exists()
