"""Events → lines for a person at a terminal."""

import sys
import time
from typing import TextIO

from transfer import events
from transfer.formatting import describe

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Says on stderr what a training does: a moving line on a terminal, plain lines in a log."""

    def __init__(self, out: TextIO | None = None):
        self.out = out or sys.stderr
        self.moving = self.out.isatty()
        self.last = 0.0
        self.open_line = False

    def tell(self, event: events.Event) -> None:
        self.show(describe(event), passing=isinstance(event, events.TRANSIENT))

    def show(self, text: str, *, passing: bool) -> None:
        """A passing line gives way to the next one on a terminal; a log has one now and then."""
        if not passing:
            self.say(text)
        elif self.moving:
            self._move(text)
        elif time.monotonic() - self.last > SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            self.say(text)

    def _move(self, text: str) -> None:
        self.out.write(f"\r\x1b[K{text}")
        self.out.flush()
        self.open_line = True

    def say(self, text: str) -> None:
        self.out.write(("\r\x1b[K" if self.open_line else "") + text + "\n")
        self.out.flush()
        self.open_line = False
