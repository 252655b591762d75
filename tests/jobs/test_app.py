"""The app as a process: what it says when it starts, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.jobs.test_restart import ROOT
from tests.ports import own_port
from tests.waiting import wait_for


def app(runs: Path, port: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--runs", str(runs)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_TEMP_DIR": str(runs.parent / "gradio")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def up(runs: Path):
    """An app that has said where it keeps its runs."""
    with own_port() as port, app(runs, port) as process:
        try:
            said = [process.stdout.readline()]
            while said[-1] and "Runs are kept in" not in said[-1]:
                said.append(process.stdout.readline())
            assert said[-1] == f"* Runs are kept in {runs}\n", process.stderr.read()
            yield process
        finally:
            process.kill()


@pytest.fixture
def in_the_background():
    """As a script's background job has it, which a process hands on to those that it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_its_workers_too(tmp_path, ending):
    with up(tmp_path / "runs") as process:
        found = psutil.Process(process.pid)
        wait_for(found.children)
        workers = found.children()
        process.send_signal(ending)
        assert process.wait(timeout=30) == 0
        assert not any(worker.is_running() for worker in workers)
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_before_the_page_is_up_ends_it_without_a_word(tmp_path):
    with own_port() as port, app(tmp_path / "runs", port) as process:
        wait_for((tmp_path / "runs").exists)
        process.send_signal(signal.SIGINT)
        # Python ends as killed where the interrupt came into an `exec` of what it imported
        assert process.wait(timeout=60) in (0, -signal.SIGINT)
        assert process.stderr.read() == ""


def test_a_second_one_on_the_same_runs_says_so_in_one_line(tmp_path, running):
    with own_port() as port, app(tmp_path / "runs", port) as second:
        assert second.wait(timeout=60) == 1
        assert second.stdout.read() == ""
        assert second.stderr.read().startswith("error: expected a folder of runs of this app's own")


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with app(tmp_path / "runs", port) as process:
            assert process.wait(timeout=120) == 1
            told = process.stderr.read()
            assert (
                told
                == f"error: expected a free port, found {port} taken; choose another with --port\n"
            )
