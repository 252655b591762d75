"""The registry with the worker as it is, on tiny models."""

import os
import subprocess
import sys
import time

import pytest

from tests.jobs.fake import alive
from tests.jobs.test_restart import ROOT
from tests.tiny import TINY
from tests.waiting import wait_for
from transfer.events import EpochDone, PhaseDone, RunSaved
from transfer.jobs import Job, JobManager
from transfer.runs.run import read_run

pytestmark = pytest.mark.slow
PATIENCE = 180


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_CACHE", str(folder / "cache"))
        found = JobManager(folder / "runs")
        found.keep_warm()
        yield found
        found.close()


def until(job: Job, condition) -> Job:
    wait_for(lambda: condition() or not job.live, seconds=PATIENCE)
    assert condition(), job.error
    return job


def seconds_to_stop(jobs: JobManager, job: Job) -> float:
    """From asking it to stop until it has ended."""
    began = time.monotonic()
    jobs.stop(job.id)
    wait_for(lambda: not job.live, seconds=PATIENCE)
    return time.monotonic() - began


def test_a_folder_is_trained_and_listed(jobs, stripes):
    job = jobs.start(str(stripes), TINY | {"head_epochs": 1}, "ann" * 9, name="Stripes")
    until(job, lambda: job.state == "done")
    assert job.error == "" and isinstance(job.history[-1], RunSaved)
    assert read_run(job.out).classes == ("across", "down", "spots")
    (run,) = jobs.runs_of("ann" * 9)
    assert (run.name, run.accuracy) == ("Stripes", read_run(job.out).accuracy)
    assert not (job.out / "checkpoint").exists()


def test_a_stop_while_it_learns_takes_effect_within_a_batch_and_keeps_it(jobs, stripes):
    job = jobs.start(str(stripes), TINY | {"head": "avg", "head_epochs": 10_000})
    until(job, lambda: sum(isinstance(event, EpochDone) for event in job.history) > 5)
    heard = len(job.history)
    seconds_to_stop(jobs, job)
    assert job.state == "done" and (job.out / "run.json").exists()
    ended = next(event for event in job.history[heard:] if isinstance(event, PhaseDone))
    assert ended.phase == "warm-up" and ended.ended == "stopped" and ended.epochs < 10_000
    assert not any(isinstance(e, EpochDone) and e.phase == "fine-tune" for e in job.history)


def test_a_stop_while_images_are_read_ends_at_once_and_keeps_nothing(jobs, stripes):
    job = jobs.start(str(stripes), TINY | {"image_size": 224, "views": 60, "unfreeze": "none"})
    until(job, lambda: job.state == "caching")
    assert seconds_to_stop(jobs, job) < 15
    assert job.state == "stopped" and job.error == "" and not job.out.exists()


def test_a_stop_while_heads_are_tried_ends_at_once_and_keeps_nothing(jobs, stripes):
    job = jobs.start(str(stripes), TINY | {"head_epochs": 1_000})
    until(job, lambda: job.state == "heads")
    assert seconds_to_stop(jobs, job) < 15
    assert job.state == "stopped" and job.error == "" and not job.out.exists()


APP = """
import sys, time
from pathlib import Path
from transfer.jobs import JobManager
jobs = JobManager(Path(sys.argv[1]))
options = {options} | {{"head": "avg", "head_epochs": 10_000}}
job = jobs.start(sys.argv[2], options, "ann")
while not any(type(event).__name__ == "EpochDone" for event in job.history):
    time.sleep(0.05)
print(job.worker[0], flush=True)
time.sleep(600)
"""


def test_when_the_app_is_killed_its_worker_ends_and_the_job_is_interrupted(stripes, tmp_path):
    runs = tmp_path / "runs"
    with subprocess.Popen(
        [sys.executable, "-c", APP.format(options=TINY), str(runs), str(stripes)],
        env=os.environ | {"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    ) as app:
        worker = int(app.stdout.readline())
        assert alive(worker)
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, app.pid)
        app.kill()
    wait_for(lambda: not alive(worker))
    after = JobManager(runs, command=("true",))
    try:
        job = after.newest_of("ann")
        assert job.state == "interrupted" and job.can_resume
        assert any(isinstance(event, EpochDone) for event in job.history)
    finally:
        after.close()
