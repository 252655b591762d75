"""Trainings of several processes, each one a real process that the launcher started."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import transfer
from tests.ports import own_port
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
    def evaluated(training, *known):
        seen["weights"] = weights(training)
        seen["precision"] = training.accelerator.mixed_precision
        return evaluate(training, *known)
    recipe.evaluate = evaluated
    try:
        run = transfer.train(sys.argv[1], out=sys.argv[2], resume=True, **{QUICK!r})
    except TransferError as error:
        sys.exit(f"error: {{error}}")
    print("SEEN " + json.dumps(seen | {{"accuracy": run.accuracy}}), flush=True)
"""


def launched(source, out: Path, *faults: str) -> subprocess.CompletedProcess:
    """Two processes on the CPU; process 1 has the faults."""
    one_machine = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    with launcher(one_machine, source, out, *faults) as process:
        return ended(process)


def launcher(module: list[str], source, out: Path, *faults: str, **more: str) -> subprocess.Popen:
    """Starts the script on the CPU."""
    out.parent.mkdir(exist_ok=True)
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"} | more
    # as `accelerate launch` sets it where no precision is named
    environment |= {"ACCELERATE_MIXED_PRECISION": "no"}
    return subprocess.Popen(
        [sys.executable, "-m", *module, str(script), str(source), str(out), *faults],
        env=os.environ | environment | {"PYTHONPATH": str(Path(transfer.__file__).parents[1])},
        cwd=out.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    said, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


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


@pytest.mark.full
@pytest.mark.parametrize("shared", [True, False])
def test_several_machines_need_one_cache_and_the_main_one_writes(stripes, tmp_path, shared):
    """Two launches of a process each, in folders of their own."""
    with own_port() as port, ExitStack() as stack:
        launch = ["torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
        launch += ["--master_addr", "127.0.0.1", "--master_port", str(port), "--node_rank"]
        homes = [tmp_path / "main", tmp_path / "other"]
        caches = [{} if shared else {"TRANSFER_CACHE": str(home / "cache")} for home in homes]
        started = [
            stack.enter_context(launcher([*launch, str(rank)], stripes, home / "run", **cache))
            for rank, (home, cache) in enumerate(zip(homes, caches, strict=True))
        ]
        main, other = map(ended, started)
    if not shared:
        words = "error: expected one cache for all processes .* set TRANSFER_CACHE"
        assert main.returncode and other.returncode
        assert re.search(words, main.stderr) and re.search(words, other.stderr)
        return
    assert (main.returncode, other.returncode) == (0, 0), main.stderr[-3000:]
    assert seen_by(main) == seen_by(other)
    assert read_run(homes[0] / "run").accuracy == seen_by(main)[0]["accuracy"]
    assert [path.name for path in homes[1].iterdir()] == ["script.py"]
