"""Waiting for what comes in its own time, on a machine that may be slow."""

import threading
import time
from collections.abc import Callable

SECONDS = 60  # of patience: what comes takes no longer for it


def wait_for(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Threads:
    """Those that are begun from now on; what others have left may end meanwhile."""

    def __init__(self):
        self._before = set(threading.enumerate())

    @property
    def alive(self) -> int:
        return len(set(threading.enumerate()) - self._before)
