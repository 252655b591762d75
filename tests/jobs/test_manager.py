import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

import transfer
from tests.jobs.fake import alive, ended, learns, registry, states_of
from tests.waiting import wait_for
from transfer import events
from transfer.errors import JobError, SettingsError
from transfer.jobs import JobLimits, process
from transfer.jobs.job import run_name, shown_source
from transfer.jobs.process import Worker

QUEUED = JobLimits().queued


def test_a_job_in_the_queue_just_goes(running, notes):
    first, second = running.start("slow", {}), running.start("good", {})
    learns(first)
    assert (running.position(first), running.position(second)) == (0, 1)
    running.stop(second.id)
    assert second.state == "stopped" and running.position(second) == 0
    running.stop(first.id)
    assert ended(first).state == "done"
    assert "good" not in notes.read_text()


def test_a_training_that_takes_too_long_is_stopped_and_keeps_what_it_learned(tmp_path):
    with registry(tmp_path, limits=JobLimits(job_seconds=4)) as running:
        job, after = running.start("slow", {}), running.start("good", {})
        assert ended(job).state == "done" and job.out.exists()
        assert job.note == "stopped after 4 seconds, the most that a training may take here"
        assert ended(after).note == "" and after.state == "done"


def test_one_that_takes_too_long_to_begin_is_stopped_with_the_same_sentence(tmp_path):
    with registry(tmp_path, limits=JobLimits(job_seconds=1)) as running:
        job = ended(running.start("deaf", {}))
        assert job.state == "stopped" and "the most that a training may take" in job.note


def test_a_visitor_who_starts_too_many_is_told_when_to_come_again(monkeypatch, tmp_path):
    with registry(tmp_path, limits=JobLimits(jobs_an_hour=2)) as running:
        for _ in range(2):
            running.delete(ended(running.start("good", {}, "ann")).id, "ann")
        with pytest.raises(JobError, match=r"2 trainings an hour .* come again in 1 hour"):
            running.start("good", {}, "ann")
        ended(running.start("good", {}, "bob"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3_601)
        assert ended(running.start("good", {}, "ann")).state == "done"


def test_strangers_start_nothing_without_a_name(tmp_path):
    with registry(tmp_path, limits=JobLimits(own_runs_only=True)) as running:
        for nobody in ("", None):
            with pytest.raises(JobError, match="who starts"):
                running.start("good", {}, nobody)


def test_the_expected_wait_adds_up_what_comes_first(running):
    taken = [ended(running.start("good", {})) for _ in range(3)]
    for job in taken:
        job.started, job.ended = 1.0, 101.0
    first = learns(running.start("slow", {}))
    first.started = time.time()
    waiting = [running.start("good", {}) for _ in range(2)]
    assert running.expected_wait(first) == 0 and running.seconds_left(taken[0]) == 0
    assert running.seconds_left(first) == pytest.approx(100, abs=2)
    assert running.expected_wait(waiting[0]) == pytest.approx(100, abs=2)
    assert running.expected_wait(waiting[1]) == pytest.approx(200, abs=2)


def test_where_nothing_has_been_finished_the_wait_is_unknown(running):
    first = learns(running.start("slow", {}))
    waiting = running.start("good", {})
    assert running.seconds_left(first) is None and running.expected_wait(waiting) is None
    running.stop(first.id)
    ended(waiting)


def test_no_training_is_started_while_the_app_is_closed(tmp_path):
    with registry(tmp_path) as running:
        pass
    with pytest.raises(JobError, match="closed"):
        running.start("good", {})


def test_a_training_is_started_again_as_it_was(running):
    job = ended(running.start("error", {"seed": 5}, "ann", name="Bees"))
    again = ended(running.retry(job.id, "ann"))
    assert again.id != job.id and again.out != job.out
    assert (again.source, again.options, again.name) == ("error", {"seed": 5}, "Bees")


def epochs(job) -> list[tuple]:
    return [(e.phase, e.epoch) for e in job.history if isinstance(e, events.EpochDone)]


def test_a_training_that_was_cut_off_goes_on_as_the_same_job(monkeypatch, running):
    job = ended(running.start("cut", {"seed": 5}, "ann"))
    assert job.state == "failed" and job.can_resume
    seen = states_of(monkeypatch)
    assert epochs(job) == [("warm-up", 1), ("warm-up", 2)]
    again = running.retry(job.id, "ann")
    assert again is job and ended(job).state == "done" and job.error == ""
    assert epochs(job) == [("warm-up", 1), ("warm-up", 2)], "an epoch that is trained again"
    assert running.all_of("ann") == [job]
    assert seen[:3] == ["queued", "loading", "warm-up"]


def test_what_was_cut_off_is_there_to_go_on_with_after_a_restart(tmp_path):
    with registry(tmp_path) as before:
        job = ended(before.start("cut", {}, "ann"))
    with registry(tmp_path) as after:
        found = after.newest_of("ann")
        assert found.id == job.id and found.can_resume and epochs(found) == epochs(job)
        assert ended(after.retry(found.id, "ann")).state == "done"
    with registry(tmp_path) as last:
        assert epochs(last.newest_of("ann")) == [("warm-up", 1), ("warm-up", 2)]


def test_another_training_takes_the_place_of_one_that_was_cut_off(running):
    cut = ended(running.start("cut", {}, "ann"))
    other = ended(running.start("cut", {}, "bob"))
    ended(running.start("good", {}, "ann"))
    assert not cut.out.exists() and not cut.can_resume
    assert other.can_resume
    assert running.retry(cut.id, "ann") is not cut


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("digits", "digits"),
        ("hub:user/bees", "user/bees"),
        ("/srv/runs/.own/0123/own-photos", "own-photos"),
        ("~/photos", "photos"),
        ("../secret/photos", "photos"),
        ("a/b/c.zip", "c.zip"),
    ],
)
def test_of_a_path_only_the_last_part_is_shown(source, shown):
    assert shown_source(source) == shown


def test_many_threads_at_once_get_one_training_each(running):
    def start(number: int) -> None:
        for _ in range(5):
            with suppress(JobError):
                running.start("good", {}, f"visitor {number % 4}")
            running.newest_of(f"visitor {number % 4}")
            running.runs_of(f"visitor {number % 4}")

    threads = [threading.Thread(target=start, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        owned = running.all_of(f"visitor {number}")
        assert owned and all(ended(job).state == "done" for job in owned)
        spans = [(job.created, job.ended) for job in owned]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_stop_never_comes_before_the_order(monkeypatch, running):
    """Whoever stops a job just when it is handed over is heard after that."""
    tell, stoppers = Worker.tell, []

    def slow_tell(self, line):
        if "slow" in line:
            job_id = running.newest_of("ann").id
            stoppers.append(threading.Thread(target=running.stop, args=(job_id, "ann")))
            stoppers[0].start()
            stoppers[0].join(timeout=0.3)
        tell(self, line)

    monkeypatch.setattr(Worker, "tell", slow_tell)
    job = ended(running.start("slow", {}, owner="ann"))
    assert (job.state, job.error) == ("done", "")


def test_an_owner_has_one_live_job(running):
    first = running.start("slow", {}, owner="ann")
    with pytest.raises(JobError, match="still going on"):
        running.start("good", {}, owner="ann")
    other = running.start("good", {}, owner="bob")
    running.stop(learns(first).id, "ann")
    ended(first)
    again = running.start("good", {}, owner="ann")
    assert running.all_of("ann") == [first, again] and running.newest_of("ann") is again
    assert running.newest_of("bob") is other
    assert running.newest_of("eve") is None and running.all_of("") == []
    ended(again)


def test_the_queue_has_an_end(running):
    learns(running.start("slow", {}))
    queued = [running.start("good", {}) for _ in range(QUEUED)]
    assert [running.position(job) for job in queued] == list(range(1, QUEUED + 1))
    with pytest.raises(JobError, match=f"{QUEUED} trainings are waiting"):
        running.start("good", {})


def test_jobs_run_one_at_a_time_in_order(running, notes):
    queued = [running.start("good", {}) for _ in range(3)]
    started = [ended(job).started for job in queued]
    assert started == sorted(started)
    assert len({line.split()[0] for line in notes.read_text().splitlines()}) == 3


def test_bad_options_are_refused_before_anything_starts(running, notes):
    with pytest.raises(SettingsError):
        running.start("good", {"unfreeze": "block9"}, owner="ann")
    assert running.newest_of("ann") is None and not notes.exists()


def test_a_job_that_is_not_known_is_told_so(running):
    with pytest.raises(JobError, match="found none"):
        running.get("nothing")
    with pytest.raises(JobError):
        running.stop("nothing")
    job = running.start("good", {})
    assert running.get(job.id) is job
    ended(job)


def test_a_warm_worker_takes_the_next_job(running, notes):
    running.keep_warm()
    warm = running._spare.pid
    running.keep_warm()
    assert running._spare.pid == warm
    ended(running.start("good", {}))
    assert notes.read_text().split()[0] == str(warm)
    wait_for(lambda: running._spare is not None)


def test_a_warm_worker_that_died_is_not_given_a_job(running, notes):
    running.keep_warm()
    dead = running._spare
    os.kill(dead.pid, signal.SIGKILL)
    wait_for(lambda: not dead.alive)
    job = ended(running.start("good", {}))
    assert (job.state, job.error) == ("done", "")
    assert str(dead.pid) not in notes.read_text()


def test_a_worker_that_cannot_be_started_fails_its_job_alone(tmp_path):
    with registry(tmp_path, command=(str(tmp_path / "no-such-program"),)) as running:
        running.keep_warm()
        for job in (running.start("good", {}), running.start("good", {})):
            assert ended(job).state == "failed"
            assert "no process could be started" in job.error and "\n" not in job.error


def test_close_ends_every_worker(tmp_path, notes):
    with registry(tmp_path) as running:
        learns(running.start("slow", {}))
        waiting = running.start("good", {})
        running.keep_warm()
        workers = [running._attempt.worker, running._spare]
        assert all(alive(worker.pid) for worker in workers)
    wait_for(lambda: all(not worker.alive for worker in workers))
    assert waiting.state == "queued" and "good" not in notes.read_text()


def test_close_kills_a_worker_that_does_not_listen_and_clears_up_after_it(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "SECONDS_TO_END", 0.2)
    with registry(tmp_path) as running:
        job = running.start("deaf", {})
        wait_for(lambda: (job.out / "checkpoint" / "pixels.bin").exists())
        worker = running._attempt.worker
    assert not worker.alive
    assert not job.out.exists()


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("/home/ann/My Photos (2)/", "my-photos-2-"),
        ("hub:user/cats_vs_dogs", "cats-vs-dogs-"),
        ("../..", "run-"),
        ("猫", "run-"),
        ("x" * 300, "x" * 40 + "-"),
    ],
)
def test_a_run_s_name_says_what_was_trained_and_is_safe(source, start):
    name = run_name(source, "0123456789abcdef")
    assert name.startswith(start) and name.endswith("-01234567")
    assert Path(name).name == name and len(name) < 80


def test_the_registry_imports_neither_torch_nor_gradio():
    code = "import sys, transfer.jobs; print(*({'torch', 'gradio', 'timm'} & set(sys.modules)))"
    root = str(Path(transfer.__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ""
