import asyncio
import threading
from types import SimpleNamespace

import pytest

from transfer.ui.data.requests import LatestRequests

MINE, OTHERS = (SimpleNamespace(session_hash=name) for name in ("mine", "others"))
SKIPPED = {"__type__": "update"}
MOST_SECONDS = 60


class Slow:
    """Two handlers that wait in their threads for every dataset but the digits."""

    def __init__(self):
        self.reached, self.let_go = threading.Event(), threading.Event()
        self.requests = LatestRequests()

    def show(self, visitor: str, source: str):
        if source != "digits":
            self.reached.set()
            assert self.let_go.wait(MOST_SECONDS)
        yield f"all of {source}"

    def check(self, visitor: str, source: str):
        yield f"half of {source}"
        yield from self.show(visitor, source)

    async def ask(self, handler, source, page=MINE) -> list:
        return [step async for step in self.requests.latest(handler)("me", source, page)]

    async def begin(self, *asked) -> asyncio.Future:
        """A request that by now waits in its thread."""
        future = asyncio.ensure_future(self.ask(*asked))
        while not self.reached.is_set():
            await asyncio.sleep(0.01)
        self.reached.clear()
        return future


@pytest.fixture
def slow():
    slow = Slow()
    yield slow
    slow.let_go.set()


def run(steps):
    return asyncio.run(asyncio.wait_for(steps, MOST_SECONDS))


def test_answers_are_marked_with_their_dataset_whatever_was_posted_as_one(slow):
    half, complete = (f'<div data-of="digits">{what} of digits</div>' for what in ("half", "all"))
    assert run(slow.ask(slow.check, "digits")) == [half, complete, SKIPPED]
    slow.let_go.set()
    for source, mark in (('"><b>', "&quot;&gt;&lt;b&gt;"), (None, ""), ({"path": "x"}, "")):
        assert f'data-of="{mark}"' in run(slow.ask(slow.show, source))[0]


def test_a_newer_request_of_the_kind_or_another_dataset_cancels_those_of_the_page(slow):
    async def steps():
        others = await slow.begin(slow.show, "old", OTHERS)
        first, checked = await slow.begin(slow.show, "old"), await slow.begin(slow.check, "new")
        second = await slow.begin(slow.show, "old")
        assert await first == [SKIPPED]
        await slow.requests.cancel_others("new", MINE)
        assert await second == [SKIPPED] and not checked.done()
        assert await slow.requests.cancel_all(MINE) == ""
        assert (await checked)[1:] == [SKIPPED]
        slow.let_go.set()
        return await others

    assert "all of old" in run(steps())[0]
    assert not slow.requests._open
