"""The app as a process: how it ends, and what it says when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
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


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("all_proxy", "socks5://127.0.0.1:9"),
        ("ALL_PROXY", "foo:bar"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
    ],
)
def test_the_page_reaches_itself_whatever_the_environment_says(monkeypatch, name, value):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with app._no_detours():
            assert httpx.get(f"http://127.0.0.1:{server.server_port}").status_code == 204
        server.shutdown()
    assert os.environ == before


def test_the_app_has_an_upload_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "everybody's"))
    with app._upload_folder() as folder:
        assert Path(folder).parent == tmp_path / "everybody's" == Path(folder, "..").resolve()
        assert os.environ["GRADIO_TEMP_DIR"] == folder and Path(folder).stat().st_mode & 0o77 == 0
    assert not Path(folder).exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(SystemExit, match=r"^error: .*'below' cannot be written to .*GRADIO_TEMP"):
        app._upload_folder()


@pytest.mark.parametrize("name", ["GRADIO_SERVER_PORT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_a_setting_that_a_library_does_not_take_is_named(jobs, monkeypatch, name):
    def fail(*_, **__):
        raise ValueError("invalid literal\nfor int()")

    monkeypatch.setenv(name, "abc")
    monkeypatch.setattr(app, "_launch", fail)
    with pytest.raises(SystemExit, match=f"^error: the page .*literal for int.*{name}"):
        app._serve(jobs, None, shared=False)


def test_what_stops_the_app_from_starting_is_one_line(jobs, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .* used by another running app.*$"):
        app._run(jobs.runs, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"^error: port {port} is taken.*$"):
            app._run(tmp_path / "other", port)
