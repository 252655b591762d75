"""Requests about the chosen dataset: of each kind, only a page's newest one is answered.

Gradio's own `cancels` does not fit: the browser first runs the other handlers of the event, and
then the server cancels whatever runs for the page, newer requests included.
"""

from collections.abc import AsyncIterator, Callable, Iterator
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
        self.scope = CancelScope()

    async def run(self, function: Callable, *args):
        """What `function` returns, from a thread; DONE as soon as the request is cancelled."""
        if not self.scope.cancel_called:
            with CancelScope() as self.scope:
                return await run_sync(function, *args, abandon_on_cancel=True)
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
                self._open[key].scope.cancel()
            mine = self._open[key] = Request(source)
            steps, name = handler(visitor, source), source if isinstance(source, str) else ""
            try:
                while (html := await mine.run(next, steps, DONE)) is not DONE:
                    yield f'<div data-of="{escape(name)}">{html}</div>'  # for CLEAR_OTHERS
                yield gr.skip()  # gradio shows an error where a generator yields nothing
            finally:
                if self._open.get(key) is mine:
                    del self._open[key]

        answer.__name__ = handler.__name__
        return answer

    async def cancel_others(self, source: str | None, request: gr.Request) -> None:
        """Cancel the page's requests about any other dataset than `source`."""
        for (page, _), asked in self._open.items():
            if page == request.session_hash and asked.source != source:
                asked.scope.cancel()

    async def cancel_all(self, request: gr.Request) -> str:
        """Cancel all of the page's requests; returns an empty result."""
        await self.cancel_others(DONE, request)
        return ""
