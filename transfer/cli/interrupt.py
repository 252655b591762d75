"""Ctrl-C that is never lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Ctrl-C, with one line for the user. Click drops the message of a KeyboardInterrupt."""


@contextmanager
def lasting_interrupt(outcome: str = "nothing was saved") -> Iterator[Callable[[], bool]]:
    """A check that raises KeyboardInterrupt after Ctrl-C, else returns False.

    Works where the signal was ignored (a script's background job) or the exception was lost (in a
    destructor). A KeyboardInterrupt leaves as Interrupted, whose message names the `outcome`.
    """
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
    except KeyboardInterrupt as error:
        raise Interrupted(str(error) or f"interrupted; {outcome}") from None
    finally:
        signal.signal(signal.SIGINT, before)
