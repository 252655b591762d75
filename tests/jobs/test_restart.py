"""What is there again after the app has ended, however it ended."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import transfer
from tests.jobs.fake import alive, command, ended, learns, registry
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits, JobManager, store
from transfer.jobs.store import JobRecords, JobStore

ROOT = str(Path(transfer.__file__).parent.parent)
APP = """
import os, sys, time
from pathlib import Path
from transfer.jobs import store
from transfer.jobs import JobLimits, JobManager
jobs = JobManager(Path(sys.argv[1]), limits=JobLimits(queued=1000), command=tuple(sys.argv[3:]))
jobs.keep_warm()
for number in range(10_000):
    kinds = sys.argv[2].split(",")
    job = jobs.start(kinds[number % len(kinds)], {"seed": number}, f"{os.getpid()}-{number}")
    print(job.id, flush=True)
    time.sleep(0.02)
"""


def app(folder: Path, kinds: str) -> subprocess.Popen:
    """An app of its own that starts one training after the other and prints their ids."""
    return subprocess.Popen(
        [sys.executable, "-c", APP, str(folder / "runs"), kinds, *command(folder)],
        env=os.environ | {"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_jobs_and_their_charts_are_there_again(tmp_path):
    with registry(tmp_path) as before:
        done = ended(before.start("good", {"seed": 3}, owner="ann", name="My bees"))
        failed = ended(before.start("crash", {}, owner="ann"))
    with registry(tmp_path) as after:
        again, other = after.all_of("ann")
        assert vars(again) | {"version": 0} == vars(done) | {"version": 0, "since": again.since}
        assert [type(event).__name__ for event in again.history][-1] == "RunSaved"
        assert (other.state, other.error) == ("failed", failed.error)
        assert after.newest_of("ann") is other


def test_what_was_under_way_is_interrupted_and_cleared_away(tmp_path):
    with registry(tmp_path) as before:
        job = before.start("slow", {"seed": 3}, owner="ann")
        job.out.mkdir(parents=True)
        learns(job)
    assert job.state == "interrupted" and not job.out.exists()
    with registry(tmp_path) as after:
        found = after.newest_of("ann")
        assert found.state == "interrupted" and "start it again" in found.error
        assert len(found.history) == 3
        again = after.retry(found.id, "ann")
        assert (again.source, again.options, again.name) == ("slow", {"seed": 3}, "slow")
        with pytest.raises(JobError, match="still going on"):
            after.retry(again.id, "ann")


def test_what_was_waiting_waits_again_in_its_order(tmp_path, notes):
    with registry(tmp_path) as before:
        learns(before.start("slow", {}))
        waiting = [before.start("good", {"seed": seed}) for seed in range(3)]
    with registry(tmp_path) as after:
        found = [ended(after.get(job.id)) for job in waiting]
        assert [job.state for job in found] == ["done"] * 3
        starts = [job.started for job in found]
        assert starts == sorted(starts)


def test_a_run_that_was_whole_when_the_app_was_killed_is_done(tmp_path):
    with registry(tmp_path) as before:
        job = ended(before.start("good", {}, owner="ann"))
    record = tmp_path / "runs" / ".jobs" / f"{job.id}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"state": "evaluating"}))
    events = record.with_suffix(".jsonl")
    events.write_text("".join(events.read_text().splitlines(keepends=True)[:-1]))
    with registry(tmp_path) as after:
        found = after.newest_of("ann")
        assert (found.state, found.error) == ("done", "")
        assert found.history[-1].result == {"accuracy": 0.5}


def test_a_run_that_was_removed_by_hand_is_forgotten(tmp_path):
    with registry(tmp_path) as before:
        job = ended(before.start("good", {}, owner="ann"))
    for path in job.out.iterdir():
        path.unlink()
    with registry(tmp_path) as after:
        assert after.newest_of("ann") is None
    assert not list((tmp_path / "runs" / ".jobs").glob("*.json*"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '"x"',
        b"\xff\xfe",
        {"format_version": 2},
        {"out": "../../elsewhere"},
        {"out": ".jobs"},
        {"out": 3},
        {"state": "asleep"},
        {"options": []},
        {"id": "f" * 16},
        {"created": None},
    ],
)
def test_records_that_are_cut_or_foreign_are_skipped(tmp_path, text):
    with registry(tmp_path) as before:
        good = ended(before.start("good", {}, owner="ann"))
        bad = ended(before.start("good", {}, owner="ann"))
    record = tmp_path / "runs" / ".jobs" / f"{bad.id}.json"
    if isinstance(text, dict):
        text = json.dumps(json.loads(record.read_text()) | text)
    record.write_bytes(text if isinstance(text, bytes) else text.encode())
    (record.parent / "notes.json").write_text("{}")
    with registry(tmp_path) as after:
        assert [job.id for job in after.all_of("ann")] == [good.id]
    assert record.exists() and bad.out.exists()


def test_of_trainings_without_a_run_only_the_newest_are_kept(monkeypatch, tmp_path):
    with registry(tmp_path) as before:
        failed = [ended(before.start("error", {}, owner="ann")) for _ in range(3)]
        done = ended(before.start("good", {}, owner="ann"))
    monkeypatch.setattr(store, "MOST_FRUITLESS", 2)
    with registry(tmp_path) as after:
        left = [job.id for job in after.all_of("ann")]
        assert left == [failed[1].id, failed[2].id, done.id]


def test_an_event_that_was_cut_costs_only_itself(tmp_path):
    with registry(tmp_path) as before:
        job = ended(before.start("good", {}, owner="ann"))
    path = tmp_path / "runs" / ".jobs" / f"{job.id}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "3\n", "null\n", lines[2][:20] + "\n", *lines[3:]]))
    with registry(tmp_path) as after:
        assert len(after.newest_of("ann").history) == len(job.history) - 1


def test_a_visitor_s_id_is_nowhere_on_disk(tmp_path):
    owner = "a-visitor-s-secret"
    with registry(tmp_path) as running:
        ended(running.start("good", {}, owner=owner))
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not any(owner.encode() in path.read_bytes() for path in files)


def test_a_second_app_on_the_same_folder_is_refused_in_one_line(tmp_path, running):
    with pytest.raises(JobError, match=r"another app at work in 'runs'.*--runs"):
        JobManager(tmp_path / "runs")
    assert ended(running.start("good", {})).state == "done"


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot be written to") as error:
        JobManager(tmp_path / "file" / "runs")
    assert str(tmp_path) not in str(error.value)


def test_a_full_disk_refuses_a_training_and_loses_none(monkeypatch, running):
    job = learns(running.start("slow", {}))

    def full(self, job):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JobRecords, "write", full)
    with pytest.raises(JobError, match="No space left"):
        running.start("good", {}, owner="ann")
    assert running.newest_of("ann") is None
    running.stop(job.id)
    assert ended(job).state == "done"


def test_a_worker_that_outlived_its_app_is_ended(tmp_path):
    with registry(tmp_path) as before:
        job = learns(before.start("slow", {}, owner="ann"))
    record = tmp_path / "runs" / ".jobs" / f"{job.id}.json"
    with subprocess.Popen(["sleep", "600"]) as worker:
        born = psutil.Process(worker.pid).create_time()

        def killed_while_it_learned(mark):
            known = json.loads(record.read_text()) | {"state": "warm-up", "worker": mark}
            record.write_text(json.dumps(known))

        killed_while_it_learned([worker.pid, born - 5])
        with registry(tmp_path):
            assert alive(worker.pid)  # another process has that number by now
        killed_while_it_learned([worker.pid, born])
        with registry(tmp_path):
            ended_with_it = not alive(worker.pid)
        worker.kill()
    assert ended_with_it


def workers_of(notes: Path) -> set[int]:
    return {int(line.split()[0]) for line in notes.read_text().splitlines()}


def test_the_app_may_be_killed_at_any_moment(tmp_path, notes):
    """Twenty times, each time on the folder that the one before left."""
    moments, told, runs = random.Random(0), set(), tmp_path / "runs"
    states = set()
    for round_ in range(20):
        with app(tmp_path, kinds="good,crash,good,good") as process:
            told.add(process.stdout.readline().strip())
            time.sleep(moments.uniform(0, 0.4))
            process.kill()
            lines = process.stdout.read().splitlines(keepends=True)
            told |= {line.strip() for line in lines if line.endswith("\n")}
        opened = JobStore(runs)
        jobs = {job.id: job for job in opened.all()}
        opened.records.close()
        assert told <= jobs.keys(), f"round {round_} lost a job"
        assert {job.state for job in jobs.values() if job.live} <= {"queued"}
        finished = {job.out.name for job in jobs.values() if job.state == "done"}
        assert {path.name for path in runs.iterdir()} - {".jobs"} == finished
        assert {path.suffix for path in (runs / ".jobs").iterdir()} <= {".json", ".jsonl", ""}
        states |= {job.state for job in jobs.values()}
    assert "done" in states  # which others a kill meets hangs on the machine
    wait_for(lambda: not any(alive(pid) for pid in workers_of(notes)))


def test_no_worker_lives_on_when_the_app_is_killed_while_one_learns(tmp_path, notes):
    with app(tmp_path, kinds="slow") as process:
        process.stdout.readline()
        wait_for(lambda: notes.exists() and notes.read_text())
        assert all(alive(pid) for pid in workers_of(notes))
        process.kill()
    wait_for(lambda: not any(alive(pid) for pid in workers_of(notes)))
    with registry(tmp_path, limits=JobLimits(queued=1000)) as after:
        assert after.all_of(f"{process.pid}-0")[0].state == "interrupted"
