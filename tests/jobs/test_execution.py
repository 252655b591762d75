import time
from contextvars import ContextVar

from tests.jobs.fake import CACHED, ended, learns, registry, states_of
from tests.waiting import wait_for
from transfer import events
from transfer.jobs import JobLimits, execution
from transfer.jobs import manager as registry_module
from transfer.jobs.process import Worker


def test_a_job_passes_from_queued_to_done(monkeypatch, tmp_path):
    seen = states_of(monkeypatch)
    with registry(tmp_path) as running:
        job = running.start("good", {"seed": 1})
        ended(job)
    assert seen == [
        "loading",
        "caching",
        "heads",
        "warm-up",
        "evaluating",
        "fine-tune",
        "evaluating",
        "done",
    ]
    assert job.error == "" and job.started is not None
    assert [type(event).__name__ for event in job.history] == [
        "WeightsChosen",
        "CacheFilled",
        "PhaseStarted",
        "PhaseDone",
        "PhaseStarted",
        "PhaseDone",
        "RunSaved",
    ]
    assert job.history[-1] == events.RunSaved(run=str(job.out), result={"accuracy": 0.5})
    assert job.progress is None
    assert job.out.parent == tmp_path / "runs"


def test_progress_is_kept_only_while_it_is_new(running):
    job = running.start("early", {})
    wait_for(lambda: job.history)
    running._store.take(job, events.CacheProgress(stage="x", done=1, total=2, seconds=0.1))
    assert isinstance(job.progress, events.CacheProgress) and job.state == "caching"
    before = job.version
    running._store.take(job, events.CacheFilled(**CACHED))
    assert job.progress is None and job.version == before + 1


def test_a_crash_fails_its_job_with_a_sentence_and_the_next_one_runs(running):
    crashed, after = running.start("crash", {}), running.start("good", {})
    assert ended(crashed).state == "failed"
    assert "ended unexpectedly (status 3)" in crashed.error
    assert ended(after).state == "done"
    assert not crashed.out.exists()
    assert after.out.exists()


def test_a_kill_is_told_as_want_of_memory(running):
    job = ended(running.start("killed", {}))
    assert job.state == "failed"
    assert "memory" in job.error and "smaller image size" in job.error
    assert not job.out.exists()


def test_an_error_is_the_job_s_own_sentence(running):
    job = ended(running.start("error", {}))
    assert (job.state, job.error) == ("failed", "expected images, found none")


def test_a_job_that_has_ended_cannot_be_stopped(running):
    job = ended(running.start("error", {}))
    version = job.version
    running.stop(job.id)
    assert (job.state, job.stopping, job.version) == ("failed", False, version)


def test_lines_that_are_no_events_change_nothing(running):
    job = ended(running.start("junk", {}))
    assert job.state == "done" and len(job.history) == 7
    assert ended(running.start("good", {})).state == "done"


def test_stopping_a_training_asks_its_worker_once_and_keeps_the_run(monkeypatch, running):
    tell, sent = Worker.tell, []

    def noted(self, line):
        sent.append(line)
        tell(self, line)

    monkeypatch.setattr(Worker, "tell", noted)
    job = learns(running.start("slow", {}))
    running.stop(job.id)
    running.stop(job.id)
    assert job.stopping
    assert ended(job).state == "done"
    running.stop(job.id)
    assert sent[1:] == ["stop"]


def test_a_training_that_was_stopped_before_it_learned_keeps_nothing(running):
    job = running.start("early", {})
    wait_for(lambda: job.history)
    running.stop(job.id)
    assert ended(job).state == "stopped" and job.error == ""


def test_what_does_not_heed_a_stop_and_has_learned_nothing_is_ended(running):
    job = running.start("deaf", {})
    wait_for(lambda: job.history)
    began = time.monotonic()
    running.stop(job.id)
    assert ended(job).state == "stopped" and job.error == ""
    assert time.monotonic() - began < execution.SECONDS_TO_STOP + 15
    assert not job.out.exists()


def test_what_has_begun_to_learn_is_not_ended_for_being_slow(monkeypatch, running):
    monkeypatch.setattr(execution, "SECONDS_TO_STOP", 0.05)
    job = learns(running.start("stuck", {}))
    running.stop(job.id)
    time.sleep(0.3)
    assert job.live and job.learning
    running._attempt.worker.kill()
    assert ended(job).state == "failed"


def test_one_that_never_ends_does_not_hold_up_the_queue(monkeypatch, tmp_path):
    monkeypatch.setattr(registry_module, "SECONDS_TO_FINISH", 0.5)
    with registry(tmp_path, limits=JobLimits(job_seconds=4)) as running:
        job, after = running.start("stuck", {}), running.start("good", {})
        assert ended(job).state == "failed" and ended(after).state == "done"
        assert "quicker effort" in job.error and "memory" not in job.error


def test_an_error_carries_no_token(running):
    assert ended(running.start("leaky", {})).error == "401 for hf_…"


def test_the_worker_is_told_in_the_context_of_whoever_asked(tmp_path):
    asker, seen = ContextVar("asker", default=None), []

    class Noting(Worker):
        def tell(self, line):
            seen.append(asker.get())
            super().tell(line)

    with registry(tmp_path, worker=Noting) as running:
        asker.set("ann")
        job = running.start("good", {}, "ann")
        asker.set("somebody later")
        assert ended(job).state == "done" and seen == ["ann"]


def test_one_that_was_done_as_it_was_cut_off_is_done(monkeypatch, running):
    job = learns(running.start("slow", {}))
    monkeypatch.setattr(running._attempt.worker, "kill", lambda: None)
    running._attempt.cut_off()
    running.stop(job.id)
    assert (ended(job).state, job.error) == ("done", "")
