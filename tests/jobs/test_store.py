"""What is there again after the app has ended, however it ended."""

import json
from pathlib import Path

import pytest

from tests.jobs.fake import ANN, SETTINGS, ended, learns, manager
from transfer.errors import JobError
from transfer.jobs import JobManager, store
from transfer.jobs.store import JobStore
from transfer.settings import TrainingSettings


def change_record(jobs: JobManager, job, **fields) -> Path:
    """Change the record of a job as another version, or a moment before, would have it."""
    record = jobs.runs / ".jobs" / f"{job.id}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | fields))
    return record


def test_jobs_and_their_charts_are_there_after_a_restart(tmp_path):
    with manager(tmp_path) as before:
        done = ended(before.start("good", TrainingSettings(seed=3), ANN, name="My bees"))
        failed = ended(before.start("crash", SETTINGS, ANN))
    with manager(tmp_path) as after:
        again, other = after.all_of(ANN)
        differs = {"version": 0, "since": 0, "context": None}
        assert vars(again) | differs == vars(done) | differs
        assert (other.state, other.error) == ("failed", failed.error)


def test_an_interrupted_training_can_be_started_again(tmp_path):
    with manager(tmp_path) as before:
        job = learns(before.start("slow", TrainingSettings(seed=3), ANN))
    assert job.state == "interrupted" and not job.out.exists()
    with manager(tmp_path) as after:
        found = after.newest_of(ANN)
        assert found.state == "interrupted" and "start it again" in found.error
        assert len(found.history) == len(job.history)
        again = after.retry(found.id, ANN)
        assert (again.source, again.settings.seed, again.name) == ("slow", 3, "slow")


def test_queued_jobs_are_queued_again_in_their_order(tmp_path):
    with manager(tmp_path) as before:
        learns(before.start("slow", SETTINGS))
        queued = [before.start("good", TrainingSettings(seed=seed)) for seed in range(3)]
    with manager(tmp_path) as after:
        found = [ended(after.get(job.id)) for job in queued]
        assert [job.state for job in found] == ["done"] * 3
        starts = [job.started for job in found]
        assert starts == sorted(starts)


def test_of_a_killed_app_a_complete_run_is_done_and_an_incomplete_one_interrupted(tmp_path):
    with manager(tmp_path) as before:
        whole, cut = (ended(before.start("good", SETTINGS, ANN)) for _ in range(2))
    for job in (whole, cut):  # as the version before wrote them
        change_record(before, job, state="evaluating", worker=[1, 2.0], options={"seed": 5})
    (cut.out / "run.json").unlink()
    with manager(tmp_path) as after:
        assert [job.state for job in after.all_of(ANN)] == ["done", "interrupted"]
        assert [run.job_id for run in after.finished.of(ANN)] == [whole.id]
        assert after.newest_of(ANN).settings.seed == 5
    assert not cut.out.exists()


def test_a_name_that_an_earlier_version_saved_stays(tmp_path):
    with manager(tmp_path) as before:
        renamed, other = (ended(before.start("good", SETTINGS, ANN)) for _ in range(2))
    for job, name in ((renamed, "My bees"), (other, "good")):
        record = change_record(before, job, name=name)
        record.write_text(record.read_text().replace('"title": "",', ""))
    with manager(tmp_path) as after:
        assert [(job.title, job.name) for job in after.all_of(ANN)] == [
            ("My bees", "good"), ("", "good"),
        ]  # fmt: skip


def test_a_job_whose_run_was_deleted_by_hand_is_forgotten(tmp_path):
    with manager(tmp_path) as before:
        job = ended(before.start("good", SETTINGS, ANN))
    (job.out / "run.json").unlink()
    with manager(tmp_path) as after:
        assert after.newest_of(ANN) is None
    assert not list((tmp_path / ".jobs").glob("*.json*"))


DAMAGED = [
    *(b"{", b"[]", b"\xff\xfe"),
    *({"format_version": 2}, {"out": "../../elsewhere"}, {"out": ".jobs"}, {"state": "asleep"}),
    *({"settings": []}, {"settings": {"seed": -1}}, {"id": "f" * 16}, {"created": None}),
]


@pytest.mark.parametrize("record", DAMAGED)
def test_a_damaged_or_foreign_record_is_skipped(tmp_path, record):
    with manager(tmp_path) as before:
        good, bad = (ended(before.start("good", SETTINGS, ANN)) for _ in range(2))
    path = change_record(before, bad, **(record if isinstance(record, dict) else {}))
    if isinstance(record, bytes):
        path.write_bytes(record)
    (path.parent / "notes.json").write_text("{}")
    with manager(tmp_path) as after:
        assert [job.id for job in after.all_of(ANN)] == [good.id]
    assert path.exists() and bad.out.exists()


def test_an_event_that_was_cut_is_the_only_one_lost(tmp_path):
    with manager(tmp_path) as before:
        job = ended(before.start("good", SETTINGS, ANN))
    path = tmp_path / ".jobs" / f"{job.id}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "3\n", "null\n", lines[2][:20] + "\n", *lines[3:]]))
    with manager(tmp_path) as after:
        assert len(after.newest_of(ANN).history) == len(job.history) - 1


def test_of_trainings_without_a_run_only_the_newest_are_remembered(monkeypatch, tmp_path):
    with manager(tmp_path) as before:
        failed = [ended(before.start("error", SETTINGS, ANN)) for _ in range(3)]
        done = ended(before.start("good", SETTINGS, ANN))
    monkeypatch.setattr(store, "MOST_WITHOUT_RUN", 2)
    with manager(tmp_path) as after:
        assert [job.id for job in after.all_of(ANN)] == [failed[1].id, failed[2].id, done.id]


def test_the_id_of_a_visitor_is_nowhere_on_disk(jobs):
    ended(jobs.start("good", SETTINGS, ANN))
    for path in jobs.runs.rglob("*"):
        assert ANN not in str(path) and (path.is_dir() or ANN not in path.read_text())
    assert (jobs.runs / ".jobs").stat().st_mode & 0o077 == 0


def test_a_folder_in_use_or_that_cannot_be_written_to_is_refused(jobs, tmp_path):
    (tmp_path / "file").touch()
    unusable = {jobs.runs: "used by another running app", tmp_path / "file" / "x": "cannot be writ"}
    for runs, words in unusable.items():
        with pytest.raises(JobError, match=rf"{words}.* --runs") as error:
            JobManager(runs)
        assert str(tmp_path) not in str(error.value)
    jobs.close()
    JobManager(jobs.runs).close()


def test_a_full_disk_refuses_a_new_training_and_loses_none(monkeypatch, jobs):
    job = learns(jobs.start("slow", SETTINGS))

    def full(store, job):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JobStore, "_write", full)
    with pytest.raises(JobError, match="No space left"):
        jobs.start("good", SETTINGS, ANN)
    assert jobs.newest_of(ANN) is None
    jobs.stop(job.id)
    assert ended(job).state == "done"
