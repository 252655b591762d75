"""The processes that train: started before they are needed, ended for certain."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

WORKER = (sys.executable, "-m", "transfer.jobs.worker")
SECONDS_TO_END = 5
OUT_OF_MEMORY_STATUS = -9
LONGEST_LINE = 10_000
LONGEST_MESSAGE = 50_000_000
# nobody watches bars in a log
ENVIRONMENT = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
SECRET_NAMES = re.compile(r"(?i)token|secret|password|credential|api_?key")
SECRETS = re.compile(
    r"(hf_)[\w.-]{4,}"
    r"|(?i:(\bbearer\s+|\bbasic\s+))\S+"
    r"|(?i:((?:token|secret|password|signature|credential)[\"']?\s*[=:]\s*[\"']?))[^\s\"'&,)]+"
    r"|(://)[^/\s@]+(?=@)"
)
LOG = logging.getLogger("transfer.jobs.worker")


class Worker:
    """A process that waits for one order, trains and ends.

    Raises OSError or, for want of threads, RuntimeError when it cannot start.

    In a process group of its own: Ctrl-C is for the app, which then ends its workers. The end of
    its stdin is the sign that nobody wants it any more.
    """

    def __init__(self, command: tuple[str, ...] = WORKER):
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            command,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        self.pid = self._process.pid
        threading.Thread(target=self._log, daemon=True, name="worker-log").start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def mark(self) -> tuple[int, float]:
        """(pid, when it was born in seconds since 1970), to be known again by another app."""
        try:
            return self.pid, psutil.Process(self.pid).create_time()
        except psutil.Error:
            return self.pid, 0.0

    def tell(self, line: str) -> None:
        with suppress(OSError, ValueError):  # it has died; whoever follows it says so
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def messages(self) -> Iterator[dict]:
        """What it says until it ends; lines that are no records are none of ours."""
        while line := self._process.stdout.readline(LONGEST_MESSAGE):
            with suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message

    def wait(self) -> int:
        """Its status, once it has ended."""
        return self._process.wait()

    def leave(self) -> None:
        """Nobody asks it for anything any more."""
        with suppress(OSError):  # it has died with something unread
            self._process.stdin.close()

    def end(self) -> None:
        """Give it some time after `leave`, then end it."""
        try:
            self._process.wait(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it and all that it has started."""
        if self.alive:
            with suppress(psutil.Error):
                _kill(psutil.Process(self.pid))

    def _log(self) -> None:
        """Pass on what it writes to stderr, without secrets."""
        with self._process.stderr as lines:
            while line := lines.readline(LONGEST_LINE):
                if line.strip():
                    LOG.info(redacted(line.rstrip()))


def redacted(text: str) -> str:
    """The same text without tokens, signatures and passwords."""
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET_NAMES.search(name):
            text = text.replace(value, "…")
    return SECRETS.sub(lambda found: (found[1] or found[2] or found[3] or found[4]) + "…", text)


def end_leftover(mark: tuple[int, float] | None) -> None:
    """End the worker of an app that was killed, should it still be there."""
    try:
        pid, born = mark
        process = psutil.Process(pid)
        if abs(process.create_time() - born) < 1:
            psutil.wait_procs(_kill(process), timeout=SECONDS_TO_END)
    except (psutil.Error, TypeError, ValueError):
        return


def _kill(process: psutil.Process) -> list[psutil.Process]:
    """End a process and all that it has started; returns them."""
    family = [process, *process.children(recursive=True)]
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    return family


def why_it_died(status: int) -> str:
    if status == OUT_OF_MEMORY_STATUS:
        return (
            "the training was killed, most likely for want of memory; choose a smaller image size"
        )
    return f"the training's process ended unexpectedly (status {status}); start it again"


def why_it_did_not_start(error: OSError | RuntimeError) -> str:
    why = getattr(error, "strerror", None) or error
    return f"no process could be started for the training ({why}); try again later"
