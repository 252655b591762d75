"""What may be printed: file names come from anywhere, and a terminal acts on what it is sent."""

import io
import sys


def printable(text: str) -> str:
    """A name may hold what a terminal would act on, or what cannot be printed."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def print_whatever_comes() -> None:
    """A name that stdout or stderr has no signs for is escaped; printing it never fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
