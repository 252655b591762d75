import os
from pathlib import Path

import pytest

from transfer.errors import SettingsError
from transfer.jobs import JobLimits
from transfer.machine import environment
from transfer.machine.environment import is_shared, positive_number, use_writable_disk

VARIABLES = ("SYSTEM", "TRANSFER_SHARED", "TRANSFER_RUNS", "TRANSFER_CACHE")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # and restored afterwards, whatever the code sets


@pytest.mark.parametrize(
    ("said", "shared"), [("1", True), ("True", True), ("0", False), (" ", False), ("off", False)]
)
def test_a_server_is_shared_where_its_host_says_so(monkeypatch, said, shared):
    monkeypatch.setenv("TRANSFER_SHARED", said)
    assert is_shared() is shared


def test_a_space_is_shared_whatever_is_said(monkeypatch):
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("TRANSFER_SHARED", "0")
    assert is_shared()
    monkeypatch.setenv("TRANSFER_SHARED", "perhaps")
    with pytest.raises(SettingsError, match=r"expected TRANSFER_SHARED .* found 'perhaps'"):
        is_shared()


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TRANSFER_TRAINING_MINUTES", "90")
    monkeypatch.setenv("TRANSFER_UPLOAD_MB", "0.5")
    limits = JobLimits.shared().with_environment()
    assert (limits.job_seconds, limits.upload_bytes) == (5_400, 500_000)
    assert limits.jobs_per_hour == JobLimits.shared().jobs_per_hour and limits.own_runs_only
    monkeypatch.setenv("TRANSFER_UPLOAD_MB", "-3")
    with pytest.raises(SettingsError, match="TRANSFER_UPLOAD_MB to be a number above 0"):
        JobLimits().with_environment()
    assert positive_number("TRANSFER_QUEUE") is None


def test_a_space_stores_on_what_is_mounted_else_where_it_can_write(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    storage = tmp_path / "data"
    monkeypatch.setattr(environment, "STORAGE", storage)
    use_writable_disk()
    assert "TRANSFER_RUNS" not in os.environ  # not a Space
    monkeypatch.setenv("SYSTEM", "spaces")
    for made, folder in ((False, tmp_path), (True, storage)):
        if made:
            storage.mkdir()
        for name in ("TRANSFER_RUNS", "TRANSFER_CACHE"):
            monkeypatch.delenv(name, raising=False)
        use_writable_disk()
        assert Path(os.environ["TRANSFER_RUNS"]).parent == folder
        assert Path(os.environ["TRANSFER_CACHE"]).parent == folder
    monkeypatch.setenv("TRANSFER_RUNS", "elsewhere")
    use_writable_disk()
    assert os.environ["TRANSFER_RUNS"] == "elsewhere"
