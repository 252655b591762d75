"""Ctrl-C that is not lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Ctrl-C, with one line on what was left; the command line's own library would lose the line
    of a KeyboardInterrupt."""


@contextmanager
def lasting_interrupt(kept: str = "nothing was kept") -> Iterator[Callable[[], bool]]:
    """A check that raises KeyboardInterrupt after Ctrl-C, even where the signal was ignored, as in
    a script's background job, or was lost in a destructor; otherwise it returns False. What ends
    with KeyboardInterrupt ends with Interrupted, which says what was `kept`."""
    interrupted = threading.Event()

    def note(*_) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def check() -> bool:
        if interrupted.is_set():
            raise KeyboardInterrupt
        return False

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    except KeyboardInterrupt as stopped:
        raise Interrupted(str(stopped) or f"interrupted; {kept}") from None
    finally:
        signal.signal(signal.SIGINT, before)
