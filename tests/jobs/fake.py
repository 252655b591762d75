"""A quick stand-in for the worker, and registries over it."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_for
from transfer.jobs import Job, JobManager
from transfer.jobs.store import JobStore

CACHED = {
    "images": {"train": 1},
    "skipped": [],
    "computed": 1,
    "megabytes": 0.1,
    "seconds": 0.1,
}
FAKE = '''
"""A worker that does what the source's name says, and notes down what it is told."""
import json, os, signal, sys, time
from pathlib import Path

notes = open(sys.argv[1], "a", buffering=1)

def say(**message):
    print(json.dumps(message), flush=True)

def phase(name):
    say(event="PhaseStarted", phase=name, epochs=1, trainable=1, parameters=2, learns=["head"])

def phase_done(name):
    say(event="PhaseDone", phase=name, epochs=1, best_epoch=1, accuracy=0.5, seconds=1.0, ended="")

def until_stopped():
    for line in sys.stdin:
        if line.strip() == "stop":
            notes.write(f"{os.getpid()} stop\\n")
            return
    sys.exit(0)

say(ready=True)
line = sys.stdin.readline()
if not line.strip():
    sys.exit(0)
order = json.loads(line)
out = Path(order["out"])
notes.write(f"{os.getpid()} {order['source']}\\n")
say(event="WeightsChosen", weights="random", reason="asked for")
kind = order["source"]
if kind in ("error", "leaky"):
    say(error="expected images, found none" if kind == "error" else "401 for hf_abcdefghijkl")
    sys.exit(0)
if kind == "junk":
    print("a library's greeting\\n3\\n[]\\nnull\\n{\\"event\\": \\"Nothing\\"}", flush=True)
if kind in ("crash", "killed", "deaf"):
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "pixels.bin").write_bytes(b"1")
def epoch(number):
    said = {"loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5, "best": True}
    told = {"seconds": 0.1, "seconds_left": 0.1, "drift": {}}
    say(event="EpochDone", phase="warm-up", epoch=number, epochs=3, **said, **told)

if kind == "cut":  # dies after its second epoch, of which the checkpoint knows nothing yet
    kept = out / "checkpoint" / "training.safetensors"
    if not kept.exists():
        phase("warm-up")
        kept.parent.mkdir(parents=True)
        kept.touch()
        epoch(1)
        epoch(2)
        os._exit(3)
    say(event="Resumed", phase="warm-up", epoch=1)
    epoch(2)
    phase_done("warm-up")
    kept.unlink()
if kind == "crash":
    os._exit(3)
if kind == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "deaf":
    time.sleep(600)
if kind == "early":
    until_stopped()
    say(stopped=True)
    sys.exit(0)
say(event="CacheProgress", stage="reading images", done=1, total=2, seconds=0.1)
say(event="CacheFilled", images={"train": 2}, skipped=[], computed=2, megabytes=0.1, seconds=0.2)
tried = {"head": "avg", "dropout": 0.5, "learning_rate": 1e-3, "optimizer": "sgd", "parameters": 9}
say(event="HeadTried", **tried, validation_loss=1.0, validation_accuracy=0.5, seconds=0.1)
if kind != "cut":
    phase("warm-up")
if kind == "slow":
    until_stopped()
if kind == "stuck":
    time.sleep(600)
phase_done("warm-up")
phase("fine-tune")
say(event="BatchDone", phase="fine-tune", epoch=1, done=1, total=2, seconds_left=1.0)
phase_done("fine-tune")
out.mkdir(parents=True, exist_ok=True)
(out / "run.json").write_text(json.dumps({"source": kind, "result": {"accuracy": 0.5}}))
(out / "report.json").write_text('{"accuracy": 0.5}')
say(event="RunSaved", run=str(out), result={"accuracy": 0.5})
'''


def command(folder: Path) -> tuple[str, ...]:
    """The fake worker's command; it notes down in `folder` what it is told."""
    script = folder / "fake_worker.py"
    script.write_text(FAKE)
    return (sys.executable, "-S", str(script), str(folder / "notes.txt"))


@contextmanager
def registry(folder: Path, **options):
    """Over `folder`/runs, closed at the end."""
    found = JobManager(folder / "runs", **({"command": command(folder)} | options))
    try:
        yield found
    finally:
        found.close()


def states_of(monkeypatch) -> list[str]:
    """Every state that any job comes to have, in order, each told once in a row."""
    seen, change = [], JobStore.change

    def noted(self, job, **fields):
        change(self, job, **fields)
        if not seen or seen[-1] != job.state:
            seen.append(job.state)

    monkeypatch.setattr(JobStore, "change", noted)
    return seen


def ended(job: Job) -> Job:
    wait_for(lambda: not job.live)
    return job


def learns(job: Job) -> Job:
    wait_for(lambda: job.state == "warm-up")
    return job


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
