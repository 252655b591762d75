import os
import time
from pathlib import Path

import pytest

from tests.jobs.fake import ANN, BOB, SETTINGS, ended, learns, manager, save_run
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits, JobManager, expiry
from transfer.jobs.job import hashed
from transfer.jobs.limits import HOUR, in_words
from transfer.settings import TrainingSettings

A_DAY = 24 * HOUR


@pytest.fixture
def a_day(tmp_path, monkeypatch):
    """A manager that removes what is a day old, but only when it is asked to."""
    monkeypatch.setattr(expiry.Expiry, "_run", lambda self: None)
    with manager(tmp_path, limits=JobLimits(run_seconds=A_DAY, own_runs_only=True)) as found:
        yield found


def later(monkeypatch, seconds: float) -> None:
    """Let so much time have passed."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def own_images(jobs: JobManager, owner: str, age: float = 0.0, size: int = 10) -> Path:
    """The folder of a visitor's own images, with one that is `age` seconds old."""
    photos = jobs.runs / ".own" / hashed(owner) / "own-photos" / "cat"
    photos.mkdir(parents=True)
    (photos / "00001.jpg").write_bytes(b"x" * size)
    for path in (photos, photos.parent, photos.parent.parent):
        os.utime(path, (time.time() - age,) * 2)
    return photos.parent.parent


def test_a_shared_server_describes_its_limits_and_one_s_own_machine_has_none():
    assert JobLimits().described() == [] and JobLimits().seconds_left(0) is None
    described = " ".join(JobLimits.shared().described())
    for words in ("30 minutes", "24 hours", "200 MB", "20 trainings per hour", "Only you"):
        assert words in described


def test_a_full_disk_is_one_sentence_where_runs_do_not_expire(tmp_path):
    with manager(tmp_path, limits=JobLimits(disk_bytes=10)) as jobs:
        own_images(jobs, ANN, size=20)
        with pytest.raises(JobError, match="are full; delete some of yours, or try again later"):
            jobs.start("good", SETTINGS, ANN)


def test_a_time_is_rounded_up():
    words = [in_words(seconds) for seconds in (0, 61, HOUR, 80_000)]
    assert words == ["1 minute", "2 minutes", "60 minutes", "23 hours"]


def test_each_visitor_may_start_so_many_an_hour_and_deleted_ones_count(monkeypatch, tmp_path):
    with manager(tmp_path, limits=JobLimits(jobs_per_hour=2)) as jobs:
        jobs.finished.delete(ended(jobs.start("good", SETTINGS, ANN)).out.name, ANN)
        ended(jobs.start("good", SETTINGS, ANN))
        with pytest.raises(JobError, match=r"2 trainings within an hour.* in 60 minutes"):
            jobs.start("good", SETTINGS, ANN)
        for _ in range(3):
            ended(jobs.start("good", SETTINGS))  # nobody's are not counted
        ended(jobs.start("good", SETTINGS, BOB))
        later(monkeypatch, HOUR + 1)
        assert ended(jobs.start("good", SETTINGS, ANN)).state == "done"


def test_a_run_expires_and_its_job_says_so_for_as_long_again(monkeypatch, a_day):
    job = ended(a_day.start("good", TrainingSettings(seed=3), ANN))
    assert a_day.finished.of(ANN)[0].until == pytest.approx(time.time() + A_DAY, abs=5)
    later(monkeypatch, A_DAY - 10)
    a_day.expiry.remove_expired()
    assert job.state == "done" and a_day.finished.of(ANN)[0].until < time.time() + 11
    later(monkeypatch, 20)
    assert job.state == "done" and a_day.finished.of(ANN) == []
    version = job.version
    a_day.expiry.remove_expired()
    assert job.state == "expired" and job.version > version and job.history == []
    assert "removed after 24 hours" in job.error and not job.out.exists()
    assert a_day.newest_of(ANN) is job and a_day.finished.of(ANN) == []
    again = ended(a_day.retry(job.id, ANN))
    assert again.settings.seed == 3 and again.state == "done"
    later(monkeypatch, A_DAY - 5)
    a_day.expiry.remove_expired()
    assert a_day.all_of(ANN) == [again]
    assert not list((a_day.runs / ".jobs").glob(f"{job.id}*"))


def test_expired_runs_are_removed_in_the_background_and_stay_so_after_a_restart(tmp_path):
    with manager(tmp_path) as jobs:
        job = ended(jobs.start("good", SETTINGS, ANN))
        jobs._store.change(job, ended=time.time() - A_DAY - HOUR)
    for _ in range(2):
        with manager(tmp_path, limits=JobLimits(run_seconds=A_DAY)) as jobs:
            wait_for(lambda: jobs.newest_of(ANN).state == "expired")


def test_runs_without_an_owner_and_live_trainings_stay(monkeypatch, a_day):
    save_run(a_day.runs / "by-hand")
    job = learns(a_day.start("slow", SETTINGS, ANN))
    photos = own_images(a_day, ANN, age=9 * A_DAY)
    later(monkeypatch, 9 * A_DAY)
    a_day.expiry.remove_expired()
    assert job.state == "warm-up" and photos.exists() and (a_day.runs / "by-hand").exists()


def test_own_images_expire_unless_there_is_a_visit_a_training_or_a_new_image(a_day):
    folders = {name: own_images(a_day, name * 20, age=A_DAY + 9) for name in "abcd"}
    foreign = a_day.runs / ".own" / "not-ours"
    foreign.mkdir()
    os.utime(foreign, (1_000, 1_000))
    a_day.expiry.record_visit("a" * 20)
    a_day.expiry.record_visit("nobody")
    ended(a_day.start("crash", SETTINGS, "b" * 20))
    (folders["c"] / "own-photos" / "cat" / "00002.jpg").write_bytes(b"")
    a_day.expiry.remove_expired()
    assert [name for name, folder in folders.items() if folder.exists()] == ["a", "b", "c"]
    assert foreign.exists()


def test_uploads_of_a_visitor_are_limited(tmp_path):
    with manager(tmp_path, limits=JobLimits(upload_bytes=2_000_000)) as jobs:
        own_images(jobs, ANN, size=1_500_000)
        jobs.expiry.check_upload(ANN, 500_000)
        jobs.expiry.check_upload(BOB, 1_999_999)
        with pytest.raises(JobError, match=r"at most 2 MB; .* take 2\.5 MB"):
            jobs.expiry.check_upload(ANN, 1_000_000)


def test_a_full_disk_refuses_until_a_run_expires(monkeypatch, tmp_path):
    full = JobLimits(run_seconds=A_DAY, disk_bytes=1_000_000, own_runs_only=True)
    with manager(tmp_path, limits=full) as jobs:
        job = ended(jobs.start("good", SETTINGS, ANN))
        (job.out / "model.safetensors").write_bytes(b"x" * 1_000_000)
        for call in (
            lambda: jobs.start("good", SETTINGS, BOB),
            lambda: jobs.expiry.check_upload(BOB, 1),
        ):
            with pytest.raises(JobError, match=r"1 MB .* are full; .* try again in 24 hours"):
                call()
        later(monkeypatch, A_DAY + 1)
        assert ended(jobs.start("good", SETTINGS, BOB)).state == "done"
        assert job.state == "expired"
