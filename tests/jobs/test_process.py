import logging
import os
import sys
from contextlib import suppress

import psutil
import pytest

from tests.jobs.fake import alive
from tests.waiting import wait_for
from transfer.jobs.process import Worker, end_leftover, redacted


def python(code: str) -> Worker:
    return Worker((sys.executable, "-S", "-c", code))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("401 for hf_abcdefGHIJ0123456789", "401 for hf_…"),
        ("hf_oauth_eyJhbGci.eyJzdWIi.c2ln-x_y done", "hf_… done"),
        ("Authorization: Bearer abc.def/ghi+jk== sent", "Authorization: Bearer … sent"),
        ("GET /x?Expires=1&Signature=ab~cd&Key=2", "GET /x?Expires=1&Signature=…&Key=2"),
        ("X-Amz-Security-Token=FwoGZXIvYXdz&a=1", "X-Amz-Security-Token=…&a=1"),
        ("{'token': 'secret-thing'}", "{'token': '…'}"),
        ("https://ann:pa55@host/x", "https://…@host/x"),
        ("reading 3 of 7 images", "reading 3 of 7 images"),
        ("https://huggingface.co/datasets/a/b", "https://huggingface.co/datasets/a/b"),
    ],
)
def test_a_log_line_keeps_everything_but_its_secrets(text, kept):
    assert redacted(text) == kept


def test_secrets_of_the_environment_are_known_by_name(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "0123456789")
    monkeypatch.setenv("OTHER", "plain-value")
    assert redacted("0123456789 and plain-value") == "… and plain-value"


def test_what_a_worker_writes_to_stderr_is_logged_without_secrets(caplog):
    caplog.set_level(logging.INFO, "transfer.jobs.worker")
    worker = python("import sys; print('no access with hf_abcdefghij', file=sys.stderr)")
    assert worker.wait() == 0
    wait_for(lambda: caplog.messages)
    assert caplog.messages == ["no access with hf_…"]


def test_lines_that_are_no_records_are_passed_over():
    worker = python(r"""print('hello\n{"a": 1}\n[1]\n3\n{"b":')""")
    assert list(worker.messages()) == [{"a": 1}]
    worker.wait()


def test_telling_a_worker_that_has_died_is_no_error():
    worker = python("")
    worker.wait()
    worker.tell("stop")
    worker.leave()
    worker.end()
    worker.kill()
    assert not worker.alive and worker.mark == (worker.pid, 0.0)


def test_killing_a_worker_ends_what_it_started_too():
    worker = python(
        "import subprocess, json, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print(json.dumps({'child': child.pid}), flush=True)\n"
        "time.sleep(600)"
    )
    child = next(worker.messages())["child"]
    assert alive(child)
    worker.kill()
    assert worker.wait() == -9
    wait_for(lambda: _is_over(child))


def _is_over(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_ctrl_c_at_the_terminal_is_not_for_the_workers():
    worker = python("input()")
    assert os.getpgid(worker.pid) != os.getpgid(0)
    worker.leave()
    worker.end()


@pytest.mark.parametrize("mark", [None, [], [1], ["x", "y"], [2**22 + 7, 1.0]])
def test_what_is_no_process_is_left_alone(mark):
    end_leftover(mark)
