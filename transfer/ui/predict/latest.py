"""Only the newest question of a page is answered; an older one ends at its next picture."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from transfer.ui.predict.pictures import Asked

CLASSIFIED_AT_ONCE = 2  # pictures, since each uses all cores
DONE = object()
Step = tuple[str, list[Asked]]  # HTML, or "" to show the same as before; the pictures so far


class Page:
    """One page: the pictures that it shows, with their answers. They stay on the server."""

    def __init__(self):
        self.asked: list[Asked] = []
        self.newest: object = None  # stands for the newest question
        self.turn = asyncio.Lock()  # its pictures are known before a later question is


class LatestQuestions:
    """The questions of all pages, which share the slots to classify pictures in."""

    def __init__(self):
        self._slots = CapacityLimiter(CLASSIFIED_AT_ONCE)

    async def answer(self, page: Page, steps: Iterator[Step]) -> AsyncIterator:
        """HTML from `steps` until a newer question comes. The first step finds the pictures, and
        waits for no slot, so that an empty page is shown at once."""
        mine = page.newest = object()

        def step():
            return next(steps, DONE) if page.newest is mine else DONE

        async with page.turn:
            html, page.asked = await run_sync(next, steps)
        while page.newest is mine:
            if html:
                yield html
            found = await run_sync(step, limiter=self._slots)
            if found is DONE or page.newest is not mine:
                break
            html, page.asked = found
        yield gr.skip()  # gradio repeats the last HTML at the end, over what is newer
