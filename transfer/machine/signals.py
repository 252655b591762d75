"""The signals that end a program: a container that stops, a batch system, a closed terminal."""

import signal
from collections.abc import Callable

NAMES = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
ENDING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


def handle_ending(handler: Callable[[int, object], None]) -> dict[int, object]:
    """Call `handler` for each of them, and for none that is ignored, as SIGHUP is under `nohup`.

    Returns the handlers before, by signal. Ctrl-C (SIGINT) is not one of them.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    handled = {n: was for n, was in before.items() if was not in (signal.SIG_IGN, None)}
    for number in handled:
        signal.signal(number, handler)
    return handled


def ended_by(status: int) -> str:
    """The name of the signal that a process with this exit status was ended by; else empty."""
    number = status - 128 if status > 128 else -status
    return signal.Signals(number).name if number in ENDING else ""
