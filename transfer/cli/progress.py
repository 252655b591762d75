"""Progress on stderr: a moving line on a terminal, plain lines in a log."""

import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TextIO

from transfer import events
from transfer.formatting import describe, printable

SECONDS_BETWEEN_LINES = 5.0  # of passing lines in a log, which would fill it otherwise
CLEAR_LINE = "\r\x1b[K"


def warn(text: str) -> None:
    """A line on stderr, where it can be written."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def suggest(command: str, *arguments: object, **options: object) -> None:
    """The command that people are likely to want next, as a line on stderr. Options of None are
    left out."""
    given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    words = [*arguments, *(word for option in given if option[1] is not None for word in option)]
    warn(f"next: python -m transfer {command} {shlex.join(map(str, words))}")


def run_for(source: str) -> str:
    """A folder to suggest for a run on a dataset."""
    name = re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-.")
    return f"runs/{name or 'first'}"


class Progress:
    """Writes lines to `out`, stderr by default."""

    def __init__(self, out: TextIO | None = None):
        self.out = out or sys.stderr
        self.on_terminal = self.out.isatty()
        self.last_passing = 0.0  # time of the last passing line in a log
        self.line_is_open = False

    def report(self, event: events.Event) -> None:
        self.show(describe(event), passing=isinstance(event, events.TRANSIENT))

    def follow(self, steps: Iterator[events.Event]) -> Any:
        """Report all events; returns what the generator returns."""
        with closing(steps):
            while True:
                try:
                    self.report(next(steps))
                except StopIteration as end:
                    return end.value

    def show(self, text: str, *, passing: bool) -> None:
        """A passing line: the next one replaces it on a terminal; a log gets few of them."""
        if not passing:
            self.say(text)
        elif self.on_terminal:
            self._write(f"{CLEAR_LINE}{text}")
            self.line_is_open = True
        elif time.monotonic() - self.last_passing > SECONDS_BETWEEN_LINES:
            self.last_passing = time.monotonic()
            self.say(text)

    def say(self, text: str) -> None:
        """A lasting line."""
        self._write((CLEAR_LINE if self.line_is_open else "") + text + "\n")
        self.line_is_open = False

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a full disk or a closed terminal must not end a training
            self.out.write(text)
            self.out.flush()
