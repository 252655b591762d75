"""A worker process as the app sees it: started, sent lines, listened to, and ended for certain."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

WORKER = (sys.executable, "-m", "transfer.jobs.worker")
STOP = "stop"  # the line that ends a training early
LONGEST_LOG_LINE = 10_000  # characters
# progress bars are of no use in a log
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
    """A process that waits for one task, trains and ends.

    It leads a process group of its own, so that Ctrl-C reaches only the app, which then ends it.
    The end of stdin tells it that the app was killed. Raises OSError or RuntimeError.
    """

    def __init__(self, command: tuple[str, ...] = WORKER):
        root = str(Path(__file__).parents[2])  # the folder that holds the package
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

    def send(self, line: str) -> None:
        with suppress(OSError, ValueError):  # it has died, which its status will say
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def messages(self) -> Iterator[dict]:
        """The JSON objects that it prints, one a line, until it ends."""
        for line in self._process.stdout:
            with suppress(ValueError):  # the last line, cut when the process was killed
                yield json.loads(line)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill it and all processes that it has started."""
        if self.alive:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def _log(self) -> None:
        """Copy its stderr to the app's log, without secrets."""
        with self._process.stderr as lines:
            while line := lines.readline(LONGEST_LOG_LINE):
                if line.strip():
                    LOG.info(redacted(line.rstrip()))


def redacted(text: str) -> str:
    """The same text without tokens, signatures and passwords."""
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET_NAMES.search(name):
            text = text.replace(value, "…")
    return SECRETS.sub(lambda found: (found[1] or found[2] or found[3] or found[4]) + "…", text)
