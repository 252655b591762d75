import os
import time
from pathlib import Path

import pytest

from tests.jobs.fake import ended, learns, registry
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits, JobManager, expiry
from transfer.jobs.job import hashed

ANN, BOB = "ann" * 9, "bob" * 9
A_DAY = 86_400


@pytest.fixture
def a_day(tmp_path, monkeypatch):
    """A registry that keeps what visitors leave for a day, and looks only when it is told."""
    monkeypatch.setattr(expiry.Expiry, "_run", lambda self: None)
    with registry(tmp_path, limits=JobLimits(run_seconds=A_DAY, own_runs_only=True)) as found:
        yield found


def later(monkeypatch, seconds: float) -> None:
    """Let so much time have passed."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def own_data(jobs: JobManager, owner: str, age: float = 0.0, size: int = 10) -> Path:
    """A photo of a visitor's own, put there so many seconds ago."""
    photos = jobs.runs / ".own" / hashed(owner) / "own-photos" / "cat"
    photos.mkdir(parents=True)
    (photos / "00001.jpg").write_bytes(b"x" * size)
    for path in (photos, photos.parent, photos.parent.parent):
        os.utime(path, (time.time() - age,) * 2)
    return photos.parent.parent


def test_a_run_goes_after_its_time_and_whoever_watches_is_told(monkeypatch, a_day):
    job = ended(a_day.start("good", {"seed": 3}, ANN))
    (run,) = a_day.runs_of(ANN)
    assert run.seconds_left == pytest.approx(A_DAY, abs=5)
    later(monkeypatch, A_DAY - 10)
    a_day._expiry.remove_expired()
    assert job.state == "done" and a_day.runs_of(ANN)[0].seconds_left < 11
    later(monkeypatch, 20)
    version = job.version
    a_day._expiry.remove_expired()
    assert job.state == "expired" and job.version > version
    assert "kept for 24 hours" in job.error and job.history == []
    assert not job.out.exists() and a_day.runs_of(ANN) == []
    assert a_day.newest_of(ANN) is job
    again = ended(a_day.retry(job.id, ANN))
    assert again.options == {"seed": 3} and again.state == "done"


def test_its_record_goes_as_long_after_it(monkeypatch, a_day):
    job = ended(a_day.start("crash", {}, ANN))
    later(monkeypatch, 1.5 * A_DAY)
    a_day._expiry.remove_expired()
    a_day._expiry.remove_expired()
    assert a_day.newest_of(ANN).state == "expired"
    later(monkeypatch, A_DAY)
    a_day._expiry.remove_expired()
    assert a_day.newest_of(ANN) is None
    assert not list((a_day.runs / ".jobs").glob(f"{job.id}*"))


def test_expired_stays_expired_after_a_restart(monkeypatch, tmp_path):
    limits = JobLimits(run_seconds=A_DAY, own_runs_only=True)
    with registry(tmp_path, limits=limits) as before:
        ended(before.start("good", {}, ANN))
        later(monkeypatch, 1.5 * A_DAY)
        before._expiry.remove_expired()
    with registry(tmp_path, limits=limits) as after:
        assert after.newest_of(ANN).state == "expired"


def test_it_is_done_by_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(expiry, "SECONDS_BETWEEN_LOOKS", (0.05, 0.1))
    with registry(tmp_path, limits=JobLimits(run_seconds=1, own_runs_only=True)) as running:
        job = ended(running.start("good", {}, ANN))
        wait_for(lambda: job.state == "expired")
        wait_for(lambda: running.newest_of(ANN) is None)


def test_at_home_and_of_the_command_line_nothing_goes(monkeypatch, tmp_path):
    run = tmp_path / "runs" / "by-hand"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"source": "photos"}')
    (run / "report.json").write_text('{"accuracy": 0.5}')
    with registry(tmp_path) as running:
        running.rename(run.name, ANN, "Mine")
        job = ended(running.start("good", {}, ANN))
        later(monkeypatch, 1.5 * A_DAY)
        assert running._expiry.remove_expired() is None and job.state == "done"
    with registry(tmp_path, limits=JobLimits(run_seconds=A_DAY)) as running:
        running._expiry.remove_expired()
        assert running.newest_of(ANN).state == "expired" and run.exists()


def test_a_live_training_does_not_expire(monkeypatch, a_day):
    job = learns(a_day.start("slow", {}, ANN))
    photos = own_data(a_day, ANN, age=9 * A_DAY)
    later(monkeypatch, 9 * A_DAY)
    a_day._expiry.remove_expired()
    assert job.state == "warm-up" and photos.exists()
    a_day.stop(job.id, ANN)
    assert ended(job).state == "done"


def test_a_visitor_s_own_data_goes_when_nothing_was_heard_of_him(a_day):
    gone, kept = own_data(a_day, ANN, age=A_DAY + 9), own_data(a_day, BOB, age=A_DAY - 99)
    other = a_day.runs / ".own" / "not-ours"
    other.mkdir()
    os.utime(other, (1_000, 1_000))
    due = a_day._expiry.remove_expired()
    assert not gone.exists() and kept.exists() and other.exists()
    assert due == pytest.approx(99, abs=5)


def test_a_visit_a_training_or_a_new_photo_keeps_it(a_day):
    folders = {name: own_data(a_day, name * 20, age=A_DAY + 9) for name in "abcd"}
    a_day.record_visit("a" * 20)
    ended(a_day.start("crash", {}, "b" * 20))
    (folders["c"] / "own-photos" / "cat" / "00002.jpg").write_bytes(b"")
    a_day.record_visit("nobody")
    a_day._expiry.remove_expired()
    assert [name for name, folder in folders.items() if folder.exists()] == ["a", "b", "c"]
    assert len(list((a_day.runs / ".own").iterdir())) == 3


def test_uploads_have_an_end(tmp_path):
    with registry(tmp_path, limits=JobLimits(upload_bytes=2_000_000)) as running:
        own_data(running, ANN, size=1_500_000)
        running.check_upload(ANN, 500_000)
        running.check_upload(BOB, 1_999_999)
        with pytest.raises(JobError, match=r"at most 2 MB .* found 2\.5 MB"):
            running.check_upload(ANN, 1_000_000)


def test_a_full_disk_refuses_and_says_when_to_come_again(monkeypatch, tmp_path):
    limits = JobLimits(run_seconds=A_DAY, disk_bytes=1_000_000, own_runs_only=True)
    with registry(tmp_path, limits=limits) as running:
        job = ended(running.start("good", {}, ANN))
        (job.out / "model.safetensors").write_bytes(b"x" * 1_000_000)
        for call in (
            lambda: running.start("good", {}, BOB),
            lambda: running.check_upload(BOB, 1),
        ):
            with pytest.raises(JobError, match=r"1 MB .* are full; .* come again in 24 hours"):
                call()
        later(monkeypatch, A_DAY + 1)
        assert ended(running.start("good", {}, BOB)).state == "done"
        assert job.state == "expired"
