import asyncio
import threading
from types import SimpleNamespace

import pytest

from transfer.ui.data.requests import RequestTracker

MINE, OTHERS = (SimpleNamespace(session_hash=name) for name in ("mine", "others"))
SKIPPED = {"__type__": "update"}
MOST_SECONDS = 60


class Held:
    """Keeps the threads of the slow handlers until it is let go."""

    def __init__(self):
        self.reached, self._go_on = threading.Event(), threading.Event()

    def wait(self) -> str:
        self.reached.set()
        return "waited" if self._go_on.wait(MOST_SECONDS) else "too late"

    def let_go(self) -> None:
        self._go_on.set()

    async def comes(self, asked: asyncio.Future) -> None:
        """Until a handler waits here, or what was asked is over."""
        while not (self.reached.is_set() or asked.done()):
            await asyncio.sleep(0.01)
        self.reached.clear()


@pytest.fixture
def held():
    held = Held()
    yield held
    held.let_go()


@pytest.fixture
def handlers(held):
    """(one that returns, one that yields): slow about all but the digits."""

    def show(visitor: str, source: str) -> str:
        return source if source == "digits" else f"{source} {held.wait()}"

    def look(visitor: str, source: str):
        yield f"half of {source}"
        yield show(visitor, source)

    return show, look


@pytest.fixture
def answers(held):
    """Asks one after the other; what the page is told at last of each, in the order asked."""

    async def all_told(steps) -> list:
        told = []
        for ask in steps:
            told.append(asyncio.ensure_future(ask))
            await held.comes(told[-1])
        return await asyncio.wait_for(asyncio.gather(*told), MOST_SECONDS / 2)

    return lambda *steps: asyncio.run(all_told(steps))


async def all_of(steps) -> list:
    return [step async for step in steps]


@pytest.fixture
def asks(handlers):
    """(questions, how to show, how to look)."""
    questions = RequestTracker()
    show, look = questions.answered(handlers[0]), questions.answered_in_steps(handlers[1])
    return (
        questions,
        lambda source, page=MINE: show("me", source, page),
        lambda source, page=MINE: all_of(look("me", source, page)),
    )


def test_an_answer_is_marked_as_that_of_its_source(asks, answers):
    _, show, look = asks
    assert answers(show("digits"), look("digits")) == [
        '<div data-of="digits">digits</div>',
        [
            '<div data-of="digits">half of digits</div>',
            '<div data-of="digits">digits</div>',
            SKIPPED,
        ],
    ]


@pytest.mark.parametrize(
    ("source", "marked"), [('"><b>', "&quot;&gt;&lt;b&gt;"), (None, ""), ({"path": "x"}, "")]
)
def test_a_source_may_be_whatever_was_posted(asks, source, marked, answers):
    questions, *_ = asks
    (told,) = answers(questions.answered(lambda *_: "")("me", source, MINE))
    assert told == f'<div data-of="{marked}"></div>'


def test_of_two_questions_of_a_page_the_newest_is_answered_and_nobody_waits_for_the_other(
    asks, answers
):
    _, show, look = asks
    first, second = answers(show("slow"), show("digits"))
    assert (first, "digits" in second) == (SKIPPED, True)
    (half, skipped), second = answers(look("slow"), look("digits"))
    assert ("half of slow" in half, skipped, len(second)) == (True, SKIPPED, 3)


def test_what_is_shown_and_what_is_looked_for_are_two_questions(asks, held):
    _, show, look = asks
    told = asyncio.run(_both(show("slow"), look("slow"), held))
    assert "slow" in told[0] and "slow" in told[1][1]


def test_another_page_is_left_alone(asks, held):
    questions, show, _ = asks

    async def told():
        mine = asyncio.ensure_future(show("slow"))
        await held.comes(mine)
        await show("digits", OTHERS)
        await questions.turn_to("digits", OTHERS)
        await questions.forget(OTHERS)
        held.let_go()
        return await mine

    assert "slow" in asyncio.run(told())


def test_whoever_turns_to_another_source_gives_up_what_was_asked_about_the_old_one(asks, answers):
    questions, show, look = asks
    told = answers(show("slow"), look("slow"), questions.turn_to("digits", MINE))
    assert (told[0], told[1][-1]) == (SKIPPED, SKIPPED)


def test_whoever_turns_late_keeps_what_was_asked_about_the_new_one(asks, held):
    questions, show, _ = asks

    async def told():
        asked = asyncio.ensure_future(show("slow"))
        await held.comes(asked)
        await questions.turn_to("slow", MINE)
        held.let_go()
        return await asked

    assert "slow" in asyncio.run(told())


def test_whoever_forgets_gives_up_everything(asks, answers):
    questions, show, look = asks
    told = answers(show("slow"), look("slow"), questions.forget(MINE))
    assert (
        told[0],
        told[1][-1],
        told[2],
    ) == (SKIPPED, SKIPPED, "")


def test_nothing_is_kept_of_a_question_that_was_answered_or_failed(asks, answers):
    questions, show, _ = asks

    def fails(visitor: str, source: str) -> str:
        raise ValueError("no")

    answers(show("digits"))
    with pytest.raises(ValueError, match="no"):
        answers(questions.answered(fails)("me", "digits", MINE))
    assert not questions._open


async def _both(shown, looked, held) -> list:
    told = []
    for each in (shown, looked):
        told.append(asyncio.ensure_future(each))
        await held.comes(told[-1])
    held.let_go()
    return await asyncio.gather(*told)
