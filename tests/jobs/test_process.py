import logging
import os
import sys

import psutil
import pytest

from tests.waiting import wait_for
from transfer.jobs.process import Worker, redacted


def python(code: str) -> Worker:
    return Worker((sys.executable, "-S", "-c", code))


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("401 for hf_abcdefGHIJ0123456789", "401 for hf_…"),
        ("hf_oauth_eyJhbGci.eyJzdWIi.c2ln-x_y done", "hf_… done"),
        ("Authorization: Bearer abc.def/ghi+jk== sent", "Authorization: Bearer … sent"),
        ("GET /x?Expires=1&Signature=ab~cd&Key=2", "GET /x?Expires=1&Signature=…&Key=2"),
        ("{'token': 'secret-thing'}", "{'token': '…'}"),
        ("https://ann:pa55@host/x", "https://…@host/x"),
        ("https://huggingface.co/datasets/a/b", "https://huggingface.co/datasets/a/b"),
    ],
)
def test_secrets_are_removed_from_a_log_line_and_nothing_else(text, logged):
    assert redacted(text) == logged


def test_what_a_worker_writes_to_stderr_is_logged_without_secrets(caplog, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "0123456789")
    caplog.set_level(logging.INFO, "transfer.jobs.worker")
    worker = python(
        "import os, sys; print('hf_abcdefghij', os.environ['MY_API_KEY'], file=sys.stderr)"
    )
    assert worker.wait() == 0
    wait_for(lambda: caplog.messages)
    assert caplog.messages == ["hf_… …"]


def test_of_a_worker_that_has_died_a_cut_line_is_skipped_and_it_takes_anything():
    worker = python(r"""print('{"a": 1}\n{"b":')""")
    assert list(worker.messages()) == [{"a": 1}] and worker.wait() == 0
    worker.send("stop")
    worker.kill()
    assert not worker.alive


def test_killing_a_worker_kills_its_children_and_spares_the_app():
    worker = python(
        "import subprocess, json, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print(json.dumps({'child': child.pid}), flush=True)\n"
        "time.sleep(600)"
    )
    child = psutil.Process(next(worker.messages())["child"])
    assert os.getpgid(worker.pid) != os.getpgid(0)  # Ctrl-C in the terminal is for the app alone
    worker.kill()
    assert worker.wait() == -9
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
