"""What a page asks about its source: the newest question counts, and shown is what belongs there.

Gradio's own `cancels` are of no use for that: the browser takes the other handlers of the event
first, one after the other, and the server ends whatever the handler does for the page by then,
also what was asked since.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from anyio import CancelScope
from anyio.to_thread import run_sync

NO_MORE = object()
OF_THE_SOURCE = """(source, ...shown) => shown.map(html => {
    const page = new DOMParser().parseFromString(html || "", "text/html");
    const belongs = page.body.firstElementChild?.dataset.of === (source ?? "");
    return {__type__: "update", ...(!belongs && html && {value: ""})};
})"""


class Request:
    """Of a page about a source; it can be given up while a thread looks for the answer."""

    def __init__(self, handler: Callable, source: str | None, page: str | None):
        self.handler, self.source, self.page = handler, source, page
        self.given_up = False
        self._looking = CancelScope()

    def give_up(self) -> None:
        self.given_up = True
        self._looking.cancel()

    async def answer(self, look: Callable, *inputs) -> Any:
        """What `look` returns, or NO_MORE at once when this is given up: nobody waits for the
        thread then, which runs on to its end."""
        if not self.given_up:
            with CancelScope() as self._looking:
                return await run_sync(partial(look, *inputs), abandon_on_cancel=True)
        return NO_MORE


class RequestTracker:
    """Those that are open, of all pages; a page has one at most to each handler."""

    def __init__(self):
        self._open: set[Request] = set()

    def answered(self, handler: Callable[[str, str], str]) -> Callable:
        """`handler` of a visitor and a source as an event's, for which an older question is given
        up; what it returns is marked as that source's for OF_THE_SOURCE."""

        async def answered(visitor: str, source: str, request: gr.Request):
            with self._question(handler, source, request) as question:
                html = await question.answer(handler, visitor, source)
            return gr.skip() if html is NO_MORE else _marked(html, source)

        return _named(answered, handler)

    def answered_in_steps(self, handler: Callable[[str, str], Iterator[str]]) -> Callable:
        """The same of one that yields."""

        async def answered(visitor: str, source: str, request: gr.Request) -> AsyncIterator:
            steps = handler(visitor, source)
            with self._question(handler, source, request) as question:
                while (html := await question.answer(next, steps, NO_MORE)) is not NO_MORE:
                    yield _marked(html, source)
            yield gr.skip()  # for one that yields nothing, gradio sends words of its own

        return _named(answered, handler)

    async def turn_to(self, source: str | None, request: gr.Request) -> None:
        """Give up what the page has asked about another source."""
        for question in self._of(request):
            if question.source != source:
                question.give_up()

    async def forget(self, request: gr.Request) -> str:
        """Give up whatever the page has asked; nothing to show."""
        for question in self._of(request):
            question.give_up()
        return ""

    @contextmanager
    def _question(
        self, handler: Callable, source: str | None, request: gr.Request
    ) -> Iterator[Request]:
        for older in self._of(request):
            if older.handler == handler:
                older.give_up()
        question = Request(handler, source, request.session_hash)
        self._open.add(question)
        try:
            yield question
        finally:
            self._open.remove(question)

    def _of(self, request: gr.Request) -> list[Request]:
        return [question for question in self._open if question.page == request.session_hash]


def _marked(html: str, source: str | None) -> str:
    of = source if isinstance(source, str) else ""  # whatever was posted
    return f'<div data-of="{escape(of)}">{html}</div>'


def _named(answered: Callable, handler: Callable) -> Callable:
    """`functools.wraps` would hide from gradio that `answered` wants the request."""
    answered.__name__ = handler.__name__
    return answered
