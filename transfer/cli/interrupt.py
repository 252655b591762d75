"""Ctrl-C and the other signals that end a program, none of which is lost."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from transfer.machine.signals import handle_ending


class Interrupted(Exception):
    """One line for the user, and the exit status. Click drops that of a KeyboardInterrupt."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.status = 128 + number


@contextmanager
def lasting_interrupt(outcome: str = "nothing was saved") -> Iterator[Callable[[], bool]]:
    """A check that raises KeyboardInterrupt after a signal that ends the program, else is False.

    Works where Ctrl-C was ignored (a script's background job) or the exception was lost (in a
    destructor). A KeyboardInterrupt leaves as Interrupted, whose message names the `outcome`.
    """
    received: list[int] = []

    def note(number: int, _) -> None:
        received.append(number)
        # a closed terminal and a system that shuts down send two, the second while we tidy up
        if number == signal.SIGINT or len(received) == 1:
            raise KeyboardInterrupt

    def check() -> bool:
        if received:
            raise KeyboardInterrupt
        return False

    before = {signal.SIGINT: signal.signal(signal.SIGINT, note)} | handle_ending(note)
    try:
        yield check
    except (KeyboardInterrupt, typer.Abort) as error:
        number = received[0] if received else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        raise Interrupted(str(error) or f"interrupted{by}; {outcome}", number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
