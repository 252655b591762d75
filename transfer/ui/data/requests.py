"""Requests about the chosen dataset: of each kind, only a page's newest one is answered.

Gradio's own `cancels` does not fit: the browser first runs the other handlers of the event, and
then the server cancels whatever runs for the page, newer requests included.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from html import escape

import gradio as gr
from anyio import CancelScope
from anyio.to_thread import run_sync

DONE = object()
# in the browser: clears each result that is marked with another dataset than the chosen one
CLEAR_OTHERS = """(source, ...shown) => shown.map(html => {
    const page = new DOMParser().parseFromString(html || "", "text/html");
    const belongs = page.body.firstElementChild?.dataset.of === (source ?? "");
    return {__type__: "update", ...(!belongs && html && {value: ""})};
})"""


class Request:
    """One request. Once it is cancelled, nobody waits for its thread, which runs on to its end."""

    def __init__(self, source: str | None):
        self.source = source
        self.cancelled = False
        self._scope = CancelScope()

    def cancel(self) -> None:
        self.cancelled = True
        self._scope.cancel()

    async def run(self, function: Callable, *args):
        """What `function` returns, from a thread; DONE as soon as the request is cancelled."""
        if not self.cancelled:
            with CancelScope() as self._scope:
                return await run_sync(partial(function, *args), abandon_on_cancel=True)
        return DONE


class LatestRequests:
    """The open requests of all pages, at most one for each page and handler."""

    def __init__(self):
        self._open: dict[tuple[str | None, str], Request] = {}

    def latest(self, handler: Callable[[str, str], Iterator[str]]) -> Callable:
        """`handler(visitor, source)` yields HTML; a newer call from the same page cancels it."""

        async def answer(visitor: str, source: str, request: gr.Request) -> AsyncIterator:
            key = request.session_hash, handler.__name__
            if key in self._open:
                self._open[key].cancel()
            mine = self._open[key] = Request(source)
            steps = handler(visitor, source)
            try:
                while (html := await mine.run(next, steps, DONE)) is not DONE:
                    yield _marked(html, source)
                yield gr.skip()  # gradio shows an error where a generator yields nothing
            finally:
                if self._open.get(key) is mine:
                    del self._open[key]

        answer.__name__ = handler.__name__
        return answer

    async def cancel_others(self, source: str | None, request: gr.Request) -> None:
        """Cancel the page's requests about any other dataset than `source`."""
        for asked in self._of(request):
            if asked.source != source:
                asked.cancel()

    async def cancel_all(self, request: gr.Request) -> str:
        """Cancel all of the page's requests; returns an empty result."""
        for asked in self._of(request):
            asked.cancel()
        return ""

    def _of(self, request: gr.Request) -> list[Request]:
        return [asked for (page, _), asked in self._open.items() if page == request.session_hash]


def _marked(html: str, source: str | None) -> str:
    """HTML marked with its dataset, for CLEAR_OTHERS; anything may have been posted as one."""
    name = source if isinstance(source, str) else ""
    return f'<div data-of="{escape(name)}">{html}</div>'
