"""Waiting for something that another thread or process does."""

import threading
import time
from collections.abc import Callable

SECONDS = 60  # a generous limit for a busy machine; a passing test does not wait for it


def wait_for(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened within {seconds} s"
        time.sleep(0.01)


class Threads:
    """Counts the threads that are started from now on."""

    def __init__(self):
        self._before = set(threading.enumerate())

    @property
    def alive(self) -> int:
        return len(set(threading.enumerate()) - self._before)
