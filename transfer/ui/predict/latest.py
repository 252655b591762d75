"""Only the newest question of a page is answered; an older one ends at its next picture."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from transfer.ui.predict.pictures import Asked

DONE = object()
Step = tuple[str, list[Asked]]  # HTML, or "" to show the same as before; the pictures so far


class Page:
    """One page: the pictures that it shows, with their answers. They stay on the server."""

    def __init__(self):
        self.asked: list[Asked] = []
        self._newest: object = None  # stands for the newest question
        self._turn = asyncio.Lock()  # its pictures are known before a later question is
        self._sending = asyncio.Lock()  # gradio takes longer to send many pictures than none

    async def answer(self, steps: Iterator[Step], slots: CapacityLimiter) -> AsyncIterator:
        """HTML from `steps` until a newer question comes. The first step finds the pictures, and
        needs no slot, so that an empty page is shown at once."""
        mine = self._newest = object()

        def step():
            return next(steps, DONE) if self._newest is mine else DONE

        async with self._turn:
            html, self.asked = await run_sync(next, steps)
        while self._newest is mine:
            async with self._sending:
                if html and self._newest is mine:
                    yield html  # goes on once that is sent
            found = await run_sync(step, limiter=slots)
            if found is DONE or self._newest is not mine:
                break
            html, self.asked = found
        yield gr.skip()  # gradio repeats the last HTML at the end, over what is newer
