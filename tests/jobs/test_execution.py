"""What becomes of a job while its worker runs, and when that ends."""

import threading
from contextvars import ContextVar
from functools import partial

import pytest

from tests.jobs.fake import ANN, BOB, SETTINGS, FakeWorker, ended, kinds, learns, manager
from tests.waiting import wait_for
from transfer.jobs import JobLimits, execution
from transfer.jobs.store import JobStore
from transfer.settings import TrainingSettings


def test_a_job_passes_from_queued_to_done(jobs, monkeypatch):
    states, change = [], JobStore.change

    def noted(store, job, **fields):
        change(store, job, **fields)
        states.extend([job.state] if states[-1:] != [job.state] else [])

    monkeypatch.setattr(JobStore, "change", noted)
    job = ended(jobs.start("good", TrainingSettings(seed=1)))
    training = ["warm-up", "evaluating", "fine-tune", "evaluating"]
    wait_for(lambda: states[-1:] == ["done"])  # noted in the job's own thread
    assert states == ["loading", "caching", *training, "done"]
    assert job.error == "" and job.progress is None and job.out.parent == jobs.runs
    lasting = ["PhaseStarted", "EpochDone", "EpochDone", "PhaseDone", "PhaseStarted", "PhaseDone"]
    assert kinds(job.history) == ["WeightsChosen", "CacheFilled", *lasting, "RunSaved"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("crash", "ended unexpectedly (status 3)"),
        ("killed", "lack of memory; choose a smaller image size"),
        ("error", "expected images, found none"),
        ("leaky", "401 for hf_…"),
    ],
)
def test_a_failure_is_one_sentence_and_the_next_job_runs(jobs, kind, error):
    failed, following = jobs.start(kind, SETTINGS), jobs.start("good", SETTINGS)
    assert ended(failed).state == "failed" and error in failed.error
    assert not failed.out.exists()
    assert ended(following).state == "done" and following.out.exists()


@pytest.mark.parametrize(("kind", "name"), [("ended", "SIGTERM"), ("hung up", "SIGHUP")])
def test_a_signal_interrupts_a_job(jobs, kind, name):
    job = ended(jobs.start(kind, SETTINGS))
    assert (job.state, job.out.exists()) == ("interrupted", False) and name in job.error


def test_a_stop_is_sent_once_and_saves_the_run(jobs):
    job = learns(jobs.start("slow", SETTINGS))
    sent = jobs._execution.worker.sent
    jobs.stop(job.id)
    jobs.stop(job.id)
    assert job.stopping and ended(job).state == "done"
    version = job.version
    jobs.stop(job.id)
    assert sent[1:] == ["stop"] and job.version == version


def test_a_stop_before_anything_is_learned_ends_it_at_once(jobs):
    job = jobs.start("early", SETTINGS)
    wait_for(job.out.exists)
    jobs.stop(job.id)
    assert (ended(job).state, job.error) == ("stopped", "") and not job.out.exists()


@pytest.mark.parametrize(
    ("kind", "state"), [("slow", "done"), ("early", "stopped"), ("stuck", "failed")]
)
def test_a_training_ends_at_the_time_limit(tmp_path, monkeypatch, kind, state):
    timers = []

    def later(seconds, call, *args):
        timers.append(partial(call, *args))
        return threading.Timer(seconds, call)

    monkeypatch.setattr(execution, "_later", later)
    with manager(tmp_path, limits=JobLimits.shared()) as jobs:
        job, following = jobs.start(kind, SETTINGS, ANN), jobs.start("good", SETTINGS, BOB)
        wait_for(job.out.exists if kind == "early" else lambda: job.state == "warm-up")
        stop, kill = timers[:2]
        stop()
        if kind == "stuck":
            kill()
        assert ended(job).state == state and job.out.exists() == (state == "done")
        assert job.note == "stopped after 30 minutes, the time limit for a training here"
        assert ("quicker effort" in job.error) == (kind == "stuck")
        assert ended(following).state == "done" and following.note == ""


def test_a_task_is_sent_in_the_context_of_its_request_and_before_a_stop(tmp_path):
    visitor, contexts = ContextVar("visitor", default=None), []

    class Noting(FakeWorker):
        def send(self, line):
            contexts.append(visitor.get())
            stop = threading.Thread(target=lambda: jobs.stop(jobs.newest_of(ANN).id, ANN))
            stop.start()
            stop.join(0.1)
            super().send(line)

    with manager(tmp_path, worker=Noting) as jobs:
        visitor.set("ann")
        job = jobs.start("early", SETTINGS, ANN)
        visitor.set("somebody later")
        assert ended(job).state == "stopped"
    assert contexts == ["ann"]
