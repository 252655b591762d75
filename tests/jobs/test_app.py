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
from transfer.machine.signals import handle_ending


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


AS_ON_A_SPACE = """
import pathlib, sys
from transfer.machine import environment
environment.STORAGE = pathlib.Path(sys.argv.pop())
import app
app.main()
"""


@pytest.mark.parametrize(
    "storage", ["data", pytest.param("not mounted", marks=pytest.mark.full)], ids=str
)
def test_a_space_starts_without_arguments_and_without_a_home(tmp_path, storage):
    (tmp_path / "data").mkdir()
    place = tmp_path / storage if storage == "data" else tmp_path
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TRANSFER_", "GRADIO_"))}
    with own_port() as port:
        environment = {
            "SYSTEM": "spaces",
            "SPACE_ID": "me/space",
            "HOME": "/proc/none",
            "PYTHONPATH": str(Path(app.__file__).parent),
            "GRADIO_SERVER_PORT": str(port),
        }
        with subprocess.Popen(
            [sys.executable, "-c", AS_ON_A_SPACE, str(tmp_path / storage)],
            cwd=tmp_path,
            env=inherited | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            printed = []
            for line in process.stdout:
                printed.append(line)
                if "Runs are" in line:
                    break
            assert printed[-1] == f"* Runs are saved in {place / 'runs'}\n", printed
            assert httpx.get(f"http://127.0.0.1:{port}").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0 and "Traceback" not in process.stdout.read()


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


@pytest.mark.parametrize("name", ["192.0.2.1", "no.such.host.invalid", "a..b"])
def test_an_address_of_another_machine_is_named_at_once(monkeypatch, tmp_path, name):
    monkeypatch.setenv("GRADIO_SERVER_NAME", name)
    with pytest.raises(SystemExit, match=f"^error: .*GRADIO_SERVER_NAME, found '{name}'"):
        app._run(tmp_path / "runs", None)


def test_what_stops_the_app_from_starting_is_one_line(jobs, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .* used by another running app.*$"):
        app._run(jobs.runs, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"^error: port {port} is taken.*$"):
            app._run(tmp_path / "other", port)
