import os

import pytest

from tests.jobs.fake import ANN, BOB, SETTINGS, ended, learns, manager, save_run
from transfer.errors import JobError
from transfer.jobs import JobLimits


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
        assert (first.id, first.name, first.job_id) == (job.out.name, "My bees", job.id)
        assert (first.source, first.accuracy, first.created) == ("good", 0.5, job.ended)
        assert (second.id, second.name, second.job_id) == ("new", "new", "")
        assert (second.source, second.accuracy, second.created) == ("photos", 0.75, 2_000)
        assert third.path == jobs.runs / "old" and third.seconds_left is None


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


def test_deleting_leaves_nothing_behind(jobs):
    save_run(jobs.runs / "by-hand")
    job = ended(jobs.start("good", SETTINGS, ANN))
    for run in (job.out.name, "by-hand"):
        jobs.finished.delete(run, ANN)
    assert jobs.all_of(ANN) == [] and jobs.finished.of(ANN) == []
    assert [path.name for path in jobs.runs.rglob("*") if path.is_file()] == ["lock"]


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
