import json
import os
import shutil
import time

import pytest

from tests.jobs.fake import ANN, BOB, SETTINGS, ended, learns, manager, save_run
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits, finished_runs


@pytest.fixture
def shared(tmp_path):
    with manager(tmp_path / "runs", limits=JobLimits(own_runs_only=True)) as found:
        yield found


def test_on_one_s_own_machine_all_readable_runs_are_listed_newest_first(jobs):
    for number, name in enumerate(["old", "new", "cut", "bare", "odd"], start=1):
        save_run(jobs.runs / name, "/home/ann/photos", accuracy=0.75)
        os.utime(jobs.runs / name / "run.json", (number * 1_000,) * 2)
    (jobs.runs / "cut" / "run.json").write_text("{")
    (jobs.runs / "bare" / "report.json").unlink()
    (jobs.runs / "odd" / "report.json").write_text("[]")
    job = ended(jobs.start("good", SETTINGS, ANN, name="My bees"))
    ended(jobs.start("crash", SETTINGS, ANN))
    for visitor in (ANN, BOB, ""):
        first, second, third = jobs.finished.of(visitor)
        assert (first.id, first.title, first.job_id) == (job.out.name, "", job.id)
        assert (first.source, first.accuracy, first.created) == ("My bees", 0.5, job.ended)
        assert (second.id, second.name, second.job_id) == ("new", "new", "")
        assert (second.source, second.accuracy, second.created) == ("photos", 0.75, 2_000)
        assert third.path == jobs.runs / "old" and third.until is None


def test_a_run_is_named_by_data_effort_and_time_until_it_is_renamed(jobs):
    job = ended(jobs.start("digits", SETTINGS, ANN))
    record = {"source": "digits", "settings": {"effort": "quick"}}
    record |= {"phases": [{"name": "cache"}, {"name": "warm-up", "ended": "stopped; as it was"}]}
    (job.out / "run.json").write_text(json.dumps(record))
    jobs._store.change(job, ended=time.mktime((2026, 12, 1, 14, 3, 0, 0, 0, -1)))
    (run,) = jobs.finished.of(ANN)
    assert run.name == "digits, quick, 1 Dec 14:03" and run.stopped == "warm-up"
    jobs.finished.rename(run.id, ANN, "Sevens")
    (run,) = jobs.finished.of(ANN)
    assert run.name == "Sevens" and run.source == "digits"


def test_a_run_whose_name_is_not_utf_8_can_be_chosen_and_deleted(jobs):
    save_run(jobs.runs / os.fsdecode(b"caf\xe9"))
    (listed,) = jobs.finished.of(ANN)
    assert listed.id == listed.name == r"caf\udce9"
    jobs.finished.delete(listed.id, ANN)
    assert jobs.finished.of(ANN) == [] and not listed.path.exists()


def test_strangers_see_only_their_own_runs(shared):
    save_run(shared.runs / "of-somebody")
    job = ended(shared.start("good", SETTINGS, ANN))
    assert [run.job_id for run in shared.finished.of(ANN)] == [job.id]
    assert shared.finished.of(BOB) == shared.finished.of("") == []


def test_renaming_changes_the_shown_name_only_and_lasts(tmp_path):
    save_run(tmp_path / "by-hand")
    os.utime(tmp_path / "by-hand" / "run.json", (2_000, 2_000))
    with manager(tmp_path) as jobs:
        job = ended(jobs.start("good", SETTINGS, ANN))
        version = job.version
        jobs.finished.rename(job.out.name, ANN, " 猫 & <dogs> ")
        jobs.finished.rename("by-hand", BOB, "Photos of May")
        assert job.version > version and job.out.exists()
    with manager(tmp_path) as jobs:
        runs = [(run.id, run.name, run.created) for run in jobs.finished.of(ANN)]
        assert runs[0] == (job.out.name, "猫 & <dogs>", job.ended)
        assert runs[1] == ("by-hand", "Photos of May", 2_000) and jobs.all_of("") == []


@pytest.mark.parametrize("name", ["   ", "x" * 61, "two\nlines", "a\u202eb", None])
def test_a_name_that_cannot_be_shown_is_refused(jobs, name):
    save_run(jobs.runs / "by-hand")
    with pytest.raises(JobError, match="1 to 60 printable characters"):
        jobs.finished.rename("by-hand", ANN, name)


def contents(folder) -> dict:
    """Of all files but the lock, by their paths."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_deletion_brings_everything_back_until_the_next_one(jobs):
    save_run(jobs.runs / "by-hand")
    first, second = (ended(jobs.start("good", SETTINGS, ANN)) for _ in range(2))
    jobs.finished.rename(first.out.name, ANN, "My bees")
    before, files, finished = jobs.finished.of(ANN), contents(jobs.runs), jobs.finished
    for run in before:
        finished.delete(run.id, ANN)
        assert run not in finished.of(ANN) and finished.deleted(ANN).run == run
        assert run.job_id not in [job.id for job in jobs.all_of(ANN)]
        for wrong in ((run.id, BOB), ("another", ANN)):
            with pytest.raises(JobError, match="removed for good"):
                finished.undo(*wrong)
        finished.undo(run.id, ANN)
        assert finished.of(ANN) == before and contents(jobs.runs) == files
        assert jobs.all_of(ANN) == [first, second] and finished.deleted(ANN) is None
    finished.delete("by-hand", ANN)
    finished.delete(second.out.name, ANN)
    with pytest.raises(JobError, match="removed for good"):
        finished.undo("by-hand", ANN)
    left = [path.parent.name for path in contents(jobs.runs) if path.name == "run.json"]
    assert len(left) == 2 and first.out.name in left, "it, and the one that can be brought back"


def test_a_deleted_run_is_gone_wherever_the_app_ends_and_one_that_is_back_stays(tmp_path):
    runs = tmp_path / "runs"
    with manager(runs) as jobs:
        job = ended(jobs.start("good", SETTINGS, ANN))
        jobs.finished.delete(job.out.name, ANN)
        shutil.copytree(runs, tmp_path / "killed")
        jobs.finished.undo(job.out.name, ANN)
        shutil.copytree(runs, tmp_path / "back")
        jobs.finished.delete(job.out.name, ANN)
    assert contents(runs) == {}
    for name, left in (("runs", []), ("killed", []), ("back", [job.id])):
        with manager(tmp_path / name) as jobs:
            assert [run.job_id for run in jobs.finished.of(ANN)] == left, name
            assert [each.id for each in jobs.all_of(ANN)] == left
            assert bool(contents(tmp_path / name)) == bool(left)


def test_a_deleted_run_is_removed_after_a_while(jobs, monkeypatch):
    monkeypatch.setattr(finished_runs, "SECONDS_TO_UNDO", 0.1)
    job = ended(jobs.start("good", SETTINGS, ANN))
    jobs.finished.delete(job.out.name, ANN)
    wait_for(lambda: jobs.finished.deleted(ANN) is None)
    with jobs._store.changed:  # until all of it is gone
        assert contents(jobs.runs) == {}


def test_a_live_training_must_be_stopped_before_its_run_is_deleted(jobs):
    job = learns(jobs.start("slow", SETTINGS, ANN))
    save_run(job.out)
    with pytest.raises(JobError, match="stop it first"):
        jobs.finished.delete(job.out.name, ANN)


def test_another_s_job_is_refused_as_if_it_did_not_exist(shared):
    save_run(shared.runs / "of-somebody")
    done = ended(shared.start("good", SETTINGS, ANN))
    live = learns(shared.start("slow", SETTINGS, ANN))
    ids = (done.id, live.id, done.out.name, "of-somebody", "0" * 16, "", "..", None, ["x"])
    finished = shared.finished
    calls = (shared.get, shared.stop, shared.retry, finished.get, finished.delete)
    for call in (*calls, lambda run_id, owner: finished.rename(run_id, owner, "mine")):
        messages = set()
        for job_id in ids:
            for owner in (BOB, "", None):
                with pytest.raises(JobError) as error:
                    call(job_id, owner)
                messages.add(str(error.value))
        assert len(messages) == 1
    assert live.live and not live.stopping and done.out.exists() and done.name == "good"


@pytest.mark.parametrize("run_id", ["..", "", "../runs", "/", ".own", ".jobs", None])
def test_the_id_of_a_run_is_not_a_path(jobs, run_id):
    for name in ("a-run", ".own"):
        save_run(jobs.runs / name)
    with pytest.raises(JobError):
        jobs.finished.delete(run_id, ANN)
    assert [run.id for run in jobs.finished.of(ANN)] == ["a-run"]
    assert (jobs.runs / ".own" / "run.json").exists()
