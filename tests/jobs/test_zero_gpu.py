"""The adapter to ZeroGPU, with the real `spaces` and a scheduler of its kind on loopback.

There is no GPU in it: what moves tensors to one is left out, the training computes where it can.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import transfer
from tests.tiny import TINY

pytestmark = pytest.mark.skipif(
    find_spec("spaces") is None, reason="`spaces` is not installed; requirements-dev.txt names it"
)
APP = """
import itertools, json, os, sys, time
import spaces.zero.torch
spaces.zero.torch.init = lambda uuid: None
spaces.zero.torch.move = lambda callback=None: None
from pathlib import Path
from types import SimpleNamespace
from gradio.context import LocalContext
from starlette.datastructures import Headers
from transfer.runs import checkpoint
from transfer.jobs import zero_gpu
from transfer.jobs import gpu_slices
from transfer.jobs import JobManager
import torch
assert torch.cuda.is_available(), "spaces lets torch speak of a GPU in this process"
checkpoint.SECONDS_BETWEEN, checkpoint.LARGEST_SHARE_OF_TIME = 0, 1e9
zero_gpu.SECONDS_A_SLOT = 30  # by a clock that goes on by a second an event
gpu_slices.time = SimpleNamespace(monotonic=itertools.count().__next__)
source, runs, options = sys.argv[1:]
jobs = JobManager(Path(runs), worker=zero_gpu.zero_gpu_worker)
LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": "visitor"})))
job = jobs.start(source, json.loads(options))
LocalContext.request.set(None)
while job.live:
    time.sleep(0.05)
curve = [(e.phase, e.epoch) for e in job.history if type(e).__name__ == "EpochDone"]
again = sum(type(e).__name__ == "Resumed" for e in job.history)
print("TOLD " + json.dumps([job.state, job.error, str(job.out), curve, again]))
jobs.close()
"""


class Scheduler(BaseHTTPRequestHandler):
    """Lends a GPU to whoever asks, at most `server.lends` times."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.server.asked.append((address.path, asked))
        scheduled = sum(path == "/schedule" for path, _ in self.server.asked)
        answer, status = {}, 200
        if address.path == "/schedule":
            token = f"lent-{scheduled}"
            answer = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": token}
            if scheduled > self.server.lends:
                answer, status = {"left": 3, "wait": 3600}, 429
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def scheduler():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    server.asked, server.lends = [], 99
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def trained(scheduler, source: Path, folder: Path) -> list:
    """[state, error, run, curve, how often it was gone on with] of a training on ZeroGPU."""
    options = TINY | {"head": "avg-8", "head_epochs": 20, "finetune_epochs": 4}
    lent = {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{scheduler.server_port}",
        "PYTHONPATH": str(Path(transfer.__file__).parent.parent),
        "TRANSFER_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", APP, str(source), str(folder / "runs"), json.dumps(options)],
        env=os.environ | lent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    assert told, done.stderr
    return json.loads(told[-1].removeprefix("TOLD "))


@pytest.mark.slow
def test_a_training_is_cut_into_slots_and_comes_out_whole(scheduler, stripes, tmp_path):
    state, error, run, curve, resumed = trained(scheduler, stripes, tmp_path)
    assert (state, error) == ("done", "")
    warm_up = [["warm-up", epoch] for epoch in range(21)]
    assert curve == warm_up + [["fine-tune", epoch] for epoch in range(5)]
    assert (Path(run) / "run.json").exists()
    paths = [path for path, _ in scheduler.asked]
    slots = paths.count("/schedule")
    assert slots > 1 and resumed == slots
    assert paths.count("/allow") == paths.count("/release") == slots
    failed = [asked for path, asked in scheduler.asked if path == "/release" and asked["fail"]]
    assert all(asked["fail"] == "false" for asked in failed)
    assert all(asked["durationSeconds"] for path, asked in scheduler.asked if path == "/schedule")


@pytest.mark.slow
def test_a_quota_that_is_used_up_is_told_and_what_was_learned_stays(scheduler, stripes, tmp_path):
    scheduler.lends = 1
    state, error, run, curve, _ = trained(scheduler, stripes, tmp_path)
    assert state == "failed" and error.startswith("the GPU is not lent any longer: ")
    assert curve[0] == ["warm-up", 0] and ["fine-tune", 4] not in curve
    assert (Path(run) / "checkpoint" / "training.safetensors").exists()
