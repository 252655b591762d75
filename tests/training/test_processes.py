"""Trainings of several processes, each one a real process that the launcher started."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import transfer
from tests.tiny import TINY
from transfer.runs.run import read_run
from transfer.training.accelerator import make_accelerator

QUICK = TINY | {"head": "auto", "head_epochs": 2, "finetune_epochs": 2, "views": 1}
SECONDS_UNTIL_ALL_HAVE_ENDED = 60
SCRIPT = f"""
import hashlib, json, os, sys, time
import transfer
from transfer.errors import TransferError
from transfer.features.extract import FeatureExtractor
from transfer.runs import checkpoint
from transfer.training import recipe
from transfer.training.loop import PhaseTrainer
from transfer.training.step import TrainStep

def late():
    run = FeatureExtractor.run
    def later(*arguments):
        time.sleep(1.5)
        yield from run(*arguments)
    FeatureExtractor.run = later

def hungry():
    accumulate = TrainStep._accumulate_gradients
    def limited(self, inputs, labels):
        if self.images_at_once > 2:
            raise MemoryError
        return accumulate(self, inputs, labels)
    TrainStep._accumulate_gradients = limited

def starving():
    def never(*_):
        raise MemoryError
    TrainStep._accumulate_gradients = never

def dying():
    TrainStep.__call__ = lambda *_: os.kill(os.getpid(), 9)

def dying_in_fine_tune():
    settle = PhaseTrainer._epoch_done
    def die(self, *arguments):
        if self.phase.name == "fine-tune" and self.state.epoch == 2:
            os.kill(os.getpid(), 9)
        return settle(self, *arguments)
    PhaseTrainer._epoch_done = die

def elsewhere():
    os.environ["TRANSFER_CACHE"] = sys.argv[2] + "-cache"

def weights(training):
    tensors = training.network.state_dict().values()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()

if __name__ == "__main__":
    if os.environ["RANK"] == "1":
        for fault in sys.argv[3:]:
            globals()[fault]()
    checkpoint.SECONDS_BETWEEN, checkpoint.LARGEST_SHARE_OF_TIME = 0.0, float("inf")
    seen, evaluate = {{}}, recipe.evaluate
    def evaluated(training):
        seen["weights"] = weights(training)
        seen["precision"] = training.accelerator.mixed_precision
        return evaluate(training)
    recipe.evaluate = evaluated
    try:
        run = transfer.train(sys.argv[1], out=sys.argv[2], resume=True, **{QUICK!r})
    except TransferError as error:
        sys.exit(f"error: {{error}}")
    print("SEEN " + json.dumps(seen | {{"accuracy": run.accuracy}}), flush=True)
"""


def launched(source, out: Path, *faults: str) -> subprocess.CompletedProcess:
    """Two processes on the CPU; process 1 has the faults."""
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    # as `accelerate launch` sets it where no precision is named
    environment |= {"ACCELERATE_MIXED_PRECISION": "no"}
    return subprocess.run(
        [sys.executable, "-m", *launcher, str(script), str(source), str(out), *faults],
        env=os.environ | environment | {"PYTHONPATH": str(Path(transfer.__file__).parents[1])},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )


def seen_by(done: subprocess.CompletedProcess) -> list[dict]:
    """What each process says about the finished training."""
    return list(map(json.loads, re.findall(r"SEEN (\{.*?\})", done.stdout)))


def test_a_late_process_and_one_with_little_memory_make_the_same_run(stripes, tmp_path):
    done = launched(stripes, tmp_path / "run", "late", "hungry")
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = seen_by(done)
    assert one == other
    run = read_run(tmp_path / "run")
    alone = transfer.train(str(stripes), out=tmp_path / "alone", **QUICK)
    assert (
        one["accuracy"] == run.accuracy and one["precision"] == make_accelerator(0).mixed_precision
    )
    assert run.report["stages"]["features"] == alone.report["stages"]["features"]
    assert sum(run.record["result"]["images"].values()) == 36
    assert {path.name for path in tmp_path.iterdir()} <= {"script.py", "run", "alone", "cache"}


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("starving", "error: expected enough memory for one image"),
        ("dying", "Signal 9"),
        ("elsewhere", "error: expected one cache for all processes .* set TRANSFER_CACHE"),
    ],
)
def test_what_ends_one_process_ends_all(stripes, tmp_path, fault, words):
    started = time.monotonic()
    done = launched(stripes, tmp_path / "run", fault)
    assert done.returncode and time.monotonic() - started < SECONDS_UNTIL_ALL_HAVE_ENDED
    assert re.search(words, done.stderr) and "SEEN" not in done.stdout
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.full
def test_a_killed_training_resumes_to_the_same_bits(stripes, tmp_path):
    whole = launched(stripes, tmp_path / "whole")
    cut = launched(stripes, tmp_path / "cut", "dying_in_fine_tune")
    assert cut.returncode and (tmp_path / "cut" / "checkpoint").is_dir()
    again = launched(stripes, tmp_path / "cut")
    assert again.returncode == 0, again.stderr[-3000:]
    assert seen_by(again) == seen_by(whole)
