import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs.fake import ANN, BOB, SETTINGS, FakeWorker, ended, learns, manager
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits
from transfer.jobs.job import run_name, shown_source
from transfer.settings import TrainingSettings


def epochs(job) -> list[int]:
    return [event.epoch for event in job.history if type(event).__name__ == "EpochDone"]


def test_one_training_runs_and_the_others_wait_in_order(jobs):
    first = learns(jobs.start("slow", SETTINGS))
    queued = [jobs.start("good", SETTINGS) for _ in range(JobLimits().queued)]
    assert [jobs.position(job) for job in (first, *queued)] == [*range(len(queued) + 1)]
    with pytest.raises(JobError, match="8 trainings are waiting"):
        jobs.start("good", SETTINGS)
    jobs.stop(queued[0].id)
    assert queued[0].state == "stopped" and jobs.position(queued[0]) == 0
    jobs.stop(first.id)
    starts = [ended(job).started for job in (first, *queued[1:])]
    assert starts == sorted(starts) and queued[0].started is None


def test_an_owner_has_one_live_job(jobs):
    first = jobs.start("slow", SETTINGS, ANN)
    with pytest.raises(JobError, match="still running"):
        jobs.start("good", SETTINGS, ANN)
    other = jobs.start("good", SETTINGS, BOB)
    jobs.stop(learns(first).id, ANN)
    ended(first)
    second = jobs.start("good", SETTINGS, ANN)
    assert jobs.all_of(ANN) == [first, second] and jobs.newest_of(ANN) is second
    assert jobs.newest_of(BOB) is other and jobs.get(other.id, BOB) is other
    assert jobs.newest_of("eve") is None and jobs.all_of("") == []


def test_what_cannot_start_is_refused_at_once(tmp_path):
    with manager(tmp_path / "shared", limits=JobLimits(own_runs_only=True)) as shared:
        for nobody in ("", None):
            with pytest.raises(JobError, match="lost your session"):
                shared.start("good", SETTINGS, nobody)
    with pytest.raises(JobError, match="closing"):
        shared.start("good", SETTINGS, ANN)


def test_the_expected_wait_adds_up_what_comes_first(jobs):
    first = jobs.start("good", SETTINGS)
    second = learns(jobs.start("slow", SETTINGS))
    queued = [jobs.start("good", SETTINGS) for _ in range(2)]
    first.started = None
    assert jobs.seconds_left(second) is None and jobs.expected_wait(queued[0]) is None
    first.started, first.ended, second.started = 1.0, 101.0, time.time()
    assert jobs.expected_wait(second) == 0 and jobs.seconds_left(first) == 0
    assert jobs.seconds_left(second) == pytest.approx(100, abs=2)
    assert [jobs.expected_wait(job) for job in queued] == pytest.approx([100, 200], abs=2)


def test_a_failed_training_is_retried_as_a_new_job(jobs):
    job = ended(jobs.start("error", TrainingSettings(seed=5), ANN, name="Bees"))
    again = jobs.retry(job.id, ANN)
    with pytest.raises(JobError, match="still running"):
        jobs.retry(learns(jobs.start("slow", SETTINGS, BOB)).id, BOB)
    assert again.id != job.id and again.out != job.out
    assert (again.source, again.settings.seed, again.name) == ("error", 5, "Bees")


def test_a_training_with_a_checkpoint_is_resumed_as_the_same_job(tmp_path):
    with manager(tmp_path) as jobs:
        job = ended(jobs.start("cut", TrainingSettings(seed=5), ANN))
    with manager(tmp_path) as jobs:
        found = jobs.newest_of(ANN)
        assert found.id == job.id and found.can_resume and epochs(found) == [1, 2]
        assert jobs.retry(found.id, ANN) is found
        assert ended(found).state == "done" and found.error == ""
        assert epochs(found) == [1, 2] and jobs.all_of(ANN) == [found]


def test_a_new_training_replaces_the_owner_s_checkpoints(jobs):
    cut, other = (ended(jobs.start("cut", SETTINGS, owner)) for owner in (ANN, BOB))
    ended(jobs.start("good", SETTINGS, ANN))
    assert not cut.out.exists() and other.can_resume
    assert jobs.retry(cut.id, ANN) is not cut


def test_a_warm_worker_takes_the_next_job_unless_it_has_died(jobs):
    jobs.keep_warm()
    warm = jobs._spare
    jobs.keep_warm()
    assert jobs._spare is warm
    ended(jobs.start("good", SETTINGS))
    assert len(warm.sent) == 1
    wait_for(lambda: jobs._spare is not None)
    dead = jobs._spare
    dead.kill()
    assert ended(jobs.start("good", SETTINGS)).state == "done" and dead.sent == []


def test_a_worker_that_cannot_be_started_fails_only_its_job(tmp_path):
    def no_worker(command):
        raise OSError(11, "Resource temporarily unavailable")

    with manager(tmp_path, worker=no_worker) as jobs:
        jobs.keep_warm()
        for job in (jobs.start("good", SETTINGS), jobs.start("good", SETTINGS)):
            assert ended(job).state == "failed"
            assert "no process could be started" in job.error and "Resource" in job.error


def test_closing_ends_every_worker_and_leaves_the_queue(tmp_path):
    with manager(tmp_path) as jobs:
        running, queued = jobs.start("early", SETTINGS), jobs.start("good", SETTINGS)
        wait_for(running.out.exists)
        jobs.keep_warm()
        workers: list[FakeWorker] = [jobs._execution.worker, jobs._spare]
    assert not any(worker.alive for worker in workers)
    assert running.state == "interrupted" and not running.out.exists()
    assert queued.state == "queued"


def test_only_the_last_part_of_a_path_is_shown():
    for path in ("/srv/runs/.own/0123/photos", "~/photos", "../secret/photos", "a/b/photos"):
        assert shown_source(path) == "photos"
    assert shown_source("hub:user/bees") == "user/bees"


@pytest.mark.parametrize(
    ("source", "start"),
    [("/home/ann/My Photos (2)/", "my-photos-2-"), ("../..", "run-"), ("x" * 300, "x" * 40 + "-")],
)
def test_the_name_of_a_run_says_what_was_trained_and_is_safe(source, start):
    name = run_name(source, "0123456789abcdef")
    assert name.startswith(start) and name.endswith("-01234567")
    assert Path(name).name == name and len(name) < 80


def test_background_jobs_import_neither_torch_nor_gradio():
    code = "import sys, transfer.jobs; print(*({'torch', 'gradio', 'timm'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
