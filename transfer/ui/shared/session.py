"""Who is there: a visitor's id, and how this package's errors reach them."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from transfer.errors import TransferError

# made in the browser: a visitor who is quicker than the server has a name already
NEW_VISITOR = """known => known || Array.from(
    crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")
).join("")"""
# hides an event from the list of endpoints, which protects nothing: every handler checks its input
PRIVATE = {"api_visibility": "private"}
QUIET = PRIVATE | {"show_progress": "hidden"}


def require_visitor(visitor: str) -> str:
    """The visitor's id, or a message that there is none."""
    if not isinstance(visitor, str) or len(visitor) < 16:
        raise gr.Error(
            "This page is not ready yet, or has lost touch; try again in a moment, or reload it.",
            print_exception=False,
        )
    return visitor


@contextmanager
def as_message() -> Iterator[None]:
    """What this package says to a person, as the page's own message."""
    try:
        yield
    except TransferError as error:
        raise gr.Error(str(error), print_exception=False) from None
