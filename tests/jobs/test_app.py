"""The app as a process: how it ends, and what it says when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.ports import own_port
from tests.waiting import wait_for

ROOT = str(Path(__file__).parents[2])


def app(runs: Path, port: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--runs", str(runs)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_TEMP_DIR": str(runs.parent / "gradio")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def in_the_background():
    """SIGINT is ignored, as in a background job of a script, and child processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_an_interrupt_ends_the_app_and_its_workers(tmp_path):
    with own_port() as port, app(tmp_path / "runs", port) as process:
        for line in process.stdout:
            if "Runs are" in line:
                break
        assert line == f"* Runs are saved in {tmp_path / 'runs'}\n"
        found = psutil.Process(process.pid)
        wait_for(found.children)
        workers = found.children()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert not any(worker.is_running() for worker in workers)
        assert "Traceback" not in process.stderr.read()


def test_an_app_that_is_ended_while_it_starts_says_nothing(tmp_path):
    with own_port() as port, app(tmp_path / "runs", port) as process:
        wait_for((tmp_path / "runs").exists)
        process.send_signal(signal.SIGINT)
        # Python ends as killed where the interrupt came while a module was being imported
        assert process.wait(timeout=60) in (0, -signal.SIGINT)
        assert process.stderr.read() == ""


def test_a_second_app_on_the_same_runs_is_refused_in_one_line(jobs):
    with own_port() as port, app(jobs.runs, port) as second:
        assert second.wait(timeout=60) == 1
        error = second.stderr.read()
    assert "used by another running app" in error and error.count("\n") == 1


def test_a_port_that_is_taken_is_reported_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with app(tmp_path / "runs", port) as process:
            assert process.wait(timeout=120) == 1
            error = process.stderr.read()
    assert error.startswith("error: ") and str(port) in error and error.count("\n") == 1
