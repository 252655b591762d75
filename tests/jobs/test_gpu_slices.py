"""Trainings in slices: with GPUs that are made up, and with the real `spaces` on loopback.

There is no GPU: what `spaces` moves to one is left out, and the training computes where it can.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.jobs.fake import ANN, CHOSEN, SETTINGS, ended, epoch, kinds, manager, phase, save_run
from tests.tiny import TINY
from tests.waiting import wait_for
from transfer import events
from transfer.jobs import gpu_slices
from transfer.jobs.gpu_slices import SlicedWorker, one_slice
from transfer.jobs.worker import PAUSED
from transfer.settings import TrainingSettings
from transfer.training import recipe

ROOT = str(Path(__file__).parents[2])
OPENER = """
import json, sys
task = json.loads(sys.stdin.readline() or "null")
if task:
    assert task["until"] == "DatasetReady"
    if task["source"] == "dies":
        sys.exit(3)
    failed = task["source"] == "error"
    print(json.dumps({"error": "found no images"} if failed else {"paused": True}), flush=True)
"""


class Refused(Exception):
    """Has the message where gradio's errors have it, which `spaces` raises."""

    message = "You have exceeded your quota (60s requested vs. 3s left)."


@pytest.fixture
def trained(tmp_path):
    """Train with a function as `run_slice`; returns the job, once `after` has been called."""

    def train(run_slice, source="photos", after=lambda jobs, job: ended(job)):
        def worker(command):
            return SlicedWorker(command, run_slice=run_slice)

        command = (sys.executable, "-S", "-c", OPENER)
        with manager(tmp_path, command=command, worker=worker) as jobs:
            job = jobs.start(source, SETTINGS, ANN)
            after(jobs, job)
        return job

    return train


def slices(*scripts):
    """A `run_slice` that follows one script after the other."""
    left = iter(scripts)

    def run_slice(task, flag):
        for step in next(left):
            if isinstance(step, Exception):
                raise step
            event = save_run(Path(task["out"])) if step == "save" else step
            yield event if event == PAUSED else events.to_json(event)

    return run_slice


def test_slice_follows_slice_in_the_context_of_the_visitor_until_the_run_is_saved(trained):
    run_slice = slices([epoch(1), PAUSED], [epoch(2), Refused()], [epoch(3), "save"])
    visitor, visitors = ContextVar("visitor"), []

    def noting(task, flag):
        visitors.append(visitor.get())
        return run_slice(task, flag)

    visitor.set("ann")
    job = trained(noting)
    assert job.state == "done" and visitors == ["ann"] * 3
    # without a checkpoint each slice starts from the beginning
    assert kinds(job.history) == ["Resumed", "EpochDone", "RunSaved"]


@pytest.mark.parametrize(
    ("script", "source", "error"),
    [
        ([], "error", "found no images"),
        ([], "dies", "status 3"),
        ([[Refused()]], "photos", "no GPU is available now: You have exceeded your quota (60s"),
        ([[phase("warm-up"), PAUSED]], "photos", "no epoch fits into the 60 seconds"),
    ],
)
def test_a_training_that_does_not_progress_fails_with_a_sentence(trained, script, source, error):
    job = trained(slices(*script), source)
    assert job.state == "failed" and error in job.error


@pytest.mark.parametrize(
    ("began", "stops", "asked", "state"),
    [
        (phase("warm-up"), True, "stop", "done"),
        (CHOSEN, True, "gone", "stopped"),
        (phase("warm-up"), False, "gone", "interrupted"),
    ],
)
def test_a_stop_and_the_end_of_the_app_reach_a_slice(trained, began, stops, asked, state):
    flags = []

    def run_slice(task, flag):
        yield events.to_json(began)
        wait_for(Path(flag).exists)
        flags.append(Path(flag).read_text())
        yield events.to_json(save_run(Path(task["out"]))) if asked == "stop" else PAUSED

    def after(jobs, job):
        wait_for(lambda: began in job.history)
        if stops:
            jobs.stop(job.id, ANN)
            ended(job)

    assert trained(run_slice, after=after).state == state
    wait_for(lambda: flags == [asked])


def sliced(monkeypatch, tmp_path, training, seconds: float = 10, flag: str = "") -> list[dict]:
    """The messages of one slice, by a clock that advances by a second with each event."""

    def training_events(source, should_stop, **options):
        for event in training:
            yield event
            if should_stop():
                return

    monkeypatch.setattr(recipe, "training_events", training_events)
    clock = itertools.count().__next__
    monkeypatch.setattr(gpu_slices, "time", SimpleNamespace(monotonic=clock))
    (tmp_path / "flag").write_text(flag)
    task = {"source": "x", "out": str(tmp_path / "run"), "settings": SETTINGS.to_json()}
    return list(one_slice(task, str(tmp_path / "flag"), seconds))


def test_a_slice_pauses_between_epochs_and_only_at_its_very_end_within_one(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr("transfer.training.forecast.known_speed", lambda: measured or None)
    monkeypatch.setattr("transfer.training.benchmark.measure_again", lambda: measured.append(1))
    messages = sliced(monkeypatch, tmp_path, map(epoch, range(20)))
    assert messages == [*(events.to_json(epoch(number)) for number in range(8)), PAUSED]
    batch = events.BatchDone(phase="warm-up", epoch=1, done=1, total=99, seconds_left=1.0)
    assert sliced(monkeypatch, tmp_path, iter(lambda: batch, None))[-1] == PAUSED
    assert gpu_slices.time.monotonic() == 11
    chosen = events.to_json(CHOSEN)
    assert sliced(monkeypatch, tmp_path, [CHOSEN, CHOSEN], flag="gone") == [chosen, PAUSED]
    assert sliced(monkeypatch, tmp_path, [CHOSEN, CHOSEN], flag="stop") == [chosen]
    assert measured == [1], "a machine is measured once, where the GPU is"


APP = """
import itertools, json, sys, time
import spaces.zero.torch
spaces.zero.torch.init = lambda uuid: None
spaces.zero.torch.move = lambda callback=None: None
from pathlib import Path
from types import SimpleNamespace
from gradio.context import LocalContext
from starlette.datastructures import Headers
from transfer.jobs import JobManager, gpu_slices
from transfer.runs import checkpoint
from transfer.settings import TrainingSettings
gpu_slices.SECONDS_PER_SLICE = 30  # by a clock that advances by a second with each event
worker = gpu_slices.zero_gpu_worker()
import torch
assert torch.cuda.is_available(), "spaces makes torch show a GPU in this process"
checkpoint.SECONDS_BETWEEN, checkpoint.LARGEST_SHARE_OF_TIME = 0, 1e9
gpu_slices.time = SimpleNamespace(monotonic=itertools.count().__next__)
source, runs, settings = sys.argv[1:]
jobs = JobManager(Path(runs), worker=worker)
LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": "visitor"})))
job = jobs.start(source, TrainingSettings.from_json(json.loads(settings)))
LocalContext.request.set(None)
while job.live:
    time.sleep(0.05)
curve = [(e.phase, e.epoch) for e in job.history if type(e).__name__ == "EpochDone"]
resumed = sum(type(e).__name__ == "Resumed" for e in job.history)
print("RESULT " + json.dumps([job.state, job.error, str(job.out), curve, resumed]))
jobs.close()
"""


class Scheduler(BaseHTTPRequestHandler):
    """Grants a GPU."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.server.requests.append((address.path, query))
        answer = {}
        if address.path == "/schedule":
            answer = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0"}
            answer["allowToken"] = f"granted-{len(self.server.requests)}"
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def scheduler():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.full
@pytest.mark.skipif(find_spec("spaces") is None, reason="requirements-dev.txt names `spaces`")
def test_a_training_on_zero_gpu_is_cut_into_slices(scheduler, stripes, tmp_path):
    options = TINY | {"head": "avg-8", "head_epochs": 20, "finetune_epochs": 4}
    settings = json.dumps(TrainingSettings.from_options(**options).to_json())
    zero_gpu = {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{scheduler.server_port}",
        "PYTHONPATH": ROOT,
    }
    done = subprocess.run(
        [sys.executable, "-c", APP, str(stripes), str(tmp_path / "runs"), settings],
        env=os.environ | zero_gpu,
        capture_output=True,
        text=True,
        timeout=600,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stderr
    state, error, run, curve, resumed = json.loads(found[-1].removeprefix("RESULT "))
    assert (state, error) == ("done", "") and (Path(run) / "run.json").exists()
    epochs = [("warm-up", epoch) for epoch in range(21)] + [("fine-tune", e) for e in range(5)]
    assert curve == [list(pair) for pair in epochs]
    paths = [path for path, _ in scheduler.requests]
    assert resumed == paths.count("/schedule") > 1
    assert paths.count("/allow") == paths.count("/release") == resumed
    assert {query.get("fail", "false") for path, query in scheduler.requests} == {"false"}
