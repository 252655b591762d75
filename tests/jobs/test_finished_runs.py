import json
import os
import time
from pathlib import Path

import pytest

from tests.jobs.fake import ended, learns, registry
from transfer.errors import JobError
from transfer.jobs import JobLimits

ANN, BOB = "ann" * 9, "bob" * 9
STRANGERS = JobLimits(own_runs_only=True)


def by_command_line(folder: Path, name: str, **record) -> Path:
    """A run that no job has made."""
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "report.json").write_text('{"accuracy": 0.75}')
    (run / "run.json").write_text(json.dumps({"source": "/home/ann/photos"} | record))
    return run


@pytest.fixture
def shared(tmp_path):
    with registry(tmp_path, limits=STRANGERS) as found:
        yield found


def test_at_home_all_runs_are_listed_newest_first(tmp_path, running):
    old, new = by_command_line(tmp_path, "old"), by_command_line(tmp_path, "new")
    os.utime(old / "run.json", (1_000, 1_000))
    os.utime(new / "run.json", (2_000, 2_000))
    job = ended(running.start("good", {}, ANN, name="My bees"))
    ended(running.start("crash", {}, ANN))
    for visitor in (ANN, BOB, ""):
        first, second, third = running.runs_of(visitor)
        assert (first.id, first.name, first.job_id) == (job.out.name, "My bees", job.id)
        assert (first.source, first.accuracy, first.created) == ("good", 0.5, job.ended)
        assert (second.id, second.name, second.job_id) == ("new", "new", "")
        assert (second.source, second.accuracy, second.created) == ("photos", 0.75, 2_000)
        assert third.path == old and third.seconds_left is None


def test_strangers_see_their_own_runs_only(tmp_path, shared):
    by_command_line(tmp_path, "somebody-s")
    job = ended(shared.start("good", {}, ANN))
    assert [run.job_id for run in shared.runs_of(ANN)] == [job.id]
    assert shared.runs_of(BOB) == shared.runs_of("") == []


def test_what_cannot_be_read_is_not_listed(tmp_path, running):
    by_command_line(tmp_path, "whole")
    (by_command_line(tmp_path, "cut") / "run.json").write_text("{")
    (by_command_line(tmp_path, "bare") / "report.json").unlink()
    (by_command_line(tmp_path, "odd") / "report.json").write_text("[]")
    assert [run.id for run in running.runs_of(ANN)] == ["whole"]


def test_a_name_is_changed_and_the_folder_is_not(tmp_path):
    with registry(tmp_path) as running:
        job = ended(running.start("good", {}, ANN))
        version = job.version
        assert running.rename(job.id, ANN, "  Bees, the second time ") == "Bees, the second time"
        assert job.version > version and job.out.exists()
        running.rename(job.out.name, ANN, "猫 & <dogs>")
    with registry(tmp_path) as running:
        assert running.runs_of(ANN)[0].name == "猫 & <dogs>"
        assert running.runs_of(ANN)[0].id == job.out.name


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "two\nlines", "\x00", "a\u202eb", None, 3])
def test_a_name_that_cannot_be_shown_is_refused(running, name):
    job = ended(running.start("good", {}, ANN))
    with pytest.raises(JobError, match="1 to 60 characters"):
        running.rename(job.id, ANN, name)
    assert job.name == "good"


def test_a_run_of_the_command_line_gets_a_name_and_keeps_it(tmp_path):
    path = by_command_line(tmp_path, "by-hand")
    os.utime(path / "run.json", (2_000, 2_000))
    with registry(tmp_path) as running:
        running.rename("by-hand", BOB, "Photos of May")
    with registry(tmp_path) as running:
        (run,) = running.runs_of(ANN)
        assert (run.id, run.name, run.created) == ("by-hand", "Photos of May", 2_000)
        assert running.all_of(ANN) == running.all_of("") == []
        running.rename("by-hand", ANN, "Photos of June")
        running.delete("by-hand", ANN)
        assert running.runs_of(ANN) == [] and not path.exists()
    assert not list((tmp_path / "runs" / ".jobs").glob("*.json"))


def test_deleting_leaves_nothing_behind(tmp_path, running):
    job, failed = (ended(running.start(kind, {}, ANN)) for kind in ("good", "crash"))
    running.delete(job.out.name, ANN)
    running.delete(failed.id, ANN)
    assert running.all_of(ANN) == [] and running.runs_of(ANN) == []
    left = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["lock"]
    with pytest.raises(JobError, match="found none"):
        running.get(job.id, ANN)


def test_a_live_training_must_be_stopped_before_it_is_deleted(running):
    job, waiting = learns(running.start("slow", {}, ANN)), running.start("good", {}, BOB)
    for owner, live in ((ANN, job), (BOB, waiting)):
        with pytest.raises(JobError, match="stop it first"):
            running.delete(live.id, owner)
    running.stop(job.id, ANN)
    ended(job)
    running.delete(job.id, ANN)
    assert not job.out.exists() and ended(waiting).state == "done"


def test_another_s_is_refused_as_if_it_were_not_there(tmp_path, shared):
    by_command_line(tmp_path, "somebody-s")
    done = ended(shared.start("good", {}, ANN))
    live = learns(shared.start("slow", {}, ANN))
    for calls in (
        [lambda i=i: shared.get(i, BOB) for i in (done.id, live.id, "0" * 16, None, ["x"])],
        [lambda i=i: shared.stop(i, BOB) for i in (done.id, live.id, "0" * 16)],
        [lambda i=i: shared.retry(i, BOB) for i in (done.id, live.id, "0" * 16)],
        [
            lambda i=i, owner=owner: shared.delete(i, owner)
            for i in (done.id, done.out.name, live.id, "somebody-s", "", ".", "..", ".jobs")
            for owner in (BOB, "", None)
        ],
        [
            lambda i=i: shared.rename(i, BOB, "mine")
            for i in (done.id, done.out.name, live.id, "somebody-s", "..", ".own")
        ],
    ):
        told = set()
        for call in calls:
            with pytest.raises(JobError) as error:
                call()
            told.add(str(error.value))
        assert len(told) == 1
    assert live.live and not live.stopping and done.out.exists() and done.name == "good"
    shared.stop(live.id, ANN)


@pytest.mark.parametrize("name", ["..", ".", "", "../runs", "/", ".own", ".jobs", "no-such", None])
def test_a_run_s_id_is_no_way_out(tmp_path, running, name):
    by_command_line(tmp_path, "another")
    (tmp_path / "runs" / ".own").mkdir(parents=True)
    (tmp_path / "runs" / ".own" / "run.json").write_text('{"source": "x"}')
    (tmp_path / "runs" / ".own" / "report.json").write_text('{"accuracy": 1}')
    with pytest.raises(JobError):
        running.delete(name, ANN)
    with pytest.raises(JobError):
        running.rename(name, ANN, "x")
    assert [run.id for run in running.runs_of(ANN)] == ["another"]
    assert (tmp_path / "runs" / ".own" / "run.json").exists()


def test_a_thousand_runs_are_listed_at_once(tmp_path, running):
    for number in range(1_000):
        by_command_line(tmp_path, f"run-{number}")
    running.runs_of(ANN)
    began = time.monotonic()
    assert len(running.runs_of(ANN)) == 1_000
    assert time.monotonic() - began < 2
