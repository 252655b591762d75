"""The app as a process: how it ends, and what it says when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import app
from tests.ports import own_port
from tests.waiting import wait_for
from transfer.signals import handle_ending


@pytest.fixture
def in_the_background():
    """SIGINT is ignored, as in a background job of a script, and child processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_an_interrupt_ends_the_app_and_its_workers(tmp_path):
    with (
        own_port() as port,
        subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--runs", str(tmp_path / "runs")],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
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


def test_signals_end_the_app_once():
    """The second of two, as systemd sends them, must not cut the closing of the jobs."""
    before = handle_ending(app._leave)
    try:
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 0 and signal.SIGTERM in before


def test_what_stops_the_app_from_starting_is_one_line(jobs, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .* used by another running app.*$"):
        app._run(jobs.runs, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"^error: port {port} is taken.*$"):
            app._run(tmp_path / "other", port)
