"""A visitor's id, and how this package's errors reach the visitor."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from transfer.errors import TransferError
from transfer.formatting import error_line

# made in the browser, so that it exists before the server answers
NEW_VISITOR = """known => known || Array.from(
    crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")
).join("")"""
# not listed as an endpoint. That protects nothing: every handler checks its input
PRIVATE = {"api_visibility": "private"}
QUIET = PRIVATE | {"show_progress": "hidden"}


def require_visitor(visitor: str) -> str:
    """The visitor's id, or a message that there is none."""
    if not isinstance(visitor, str) or len(visitor) < 16:
        why = "This page is not ready yet or has lost its connection. Try again, or reload it."
        raise gr.Error(why, print_exception=False)
    return visitor


@contextmanager
def as_message() -> Iterator[None]:
    """Show this package's errors, and those of the disk, as the page's own messages."""
    try:
        yield
    except (TransferError, OSError, MemoryError) as error:
        if not (line := error_line(error)):
            raise
        raise gr.Error(line, print_exception=False) from None
