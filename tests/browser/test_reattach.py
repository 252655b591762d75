"""A training outlives whatever happens to the page: reload, closed tab, cut connection."""

import random
import time

import pytest

from tests.browser.conftest import DESKTOP, button, leave, tab, visit
from tests.browser.wire import Wire

pytestmark = [pytest.mark.slow, pytest.mark.full]
TIMES = 20
SECONDS_BEFORE = 0.5
MILLISECONDS_TO_FIND_IT = 60_000
LATER = """number => {
    const shown = /epoch (\\d+)\\//.exec(document.querySelector(".status")?.textContent)?.[1];
    return shown > number && Number(shown);
}"""


@pytest.fixture(scope="module")
def wire(shared_address):
    """Between the browser and the app."""
    wire = Wire(int(shared_address.rpartition(":")[2]))
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def context(browser, wire):
    """One visitor, whose training goes on for ever."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900})
    page, _ = visit(context.new_page(), wire.address)
    tab(page, "Train")
    button(page, "Start training").click()
    later_epoch(page, 0)
    yield context
    leave(context)


def later_epoch(page, number: int) -> int:
    """The epoch that the page shows, once it is a later one than `number`."""
    shown = page.wait_for_function(LATER, arg=number, timeout=MILLISECONDS_TO_FIND_IT)
    return shown.json_value()


def found_again(page, epoch: int) -> int:
    """`later_epoch` of the training, shown without a click; it can be stopped, not started."""
    page.locator(".status").first.wait_for(timeout=MILLISECONDS_TO_FIND_IT)
    epoch = later_epoch(page, epoch)
    assert button(page, "Start training").is_disabled()
    assert button(page, "Stop and save the result").is_enabled()
    return epoch


def moments(seed: int) -> list[float]:
    """Seconds to wait before each of the interruptions."""
    chance = random.Random(seed)
    return [chance.uniform(0, SECONDS_BEFORE) for _ in range(TIMES)]


def test_a_reload_at_any_moment_finds_it_again(context):
    page, epoch = context.pages[-1], 0
    for seconds in moments(1):
        time.sleep(seconds)
        page.reload(wait_until="commit")
        epoch = found_again(page, epoch)


def test_a_new_tab_after_the_old_one_was_closed_finds_it_again(context, wire):
    epoch = 0
    for seconds in moments(2):
        time.sleep(seconds)
        context.pages[-1].close()
        page = context.new_page()
        page.goto(wire.address, wait_until="commit")
        epoch = found_again(page, epoch)


def test_a_connection_that_is_cut_is_taken_up_again(context, wire):
    page, epoch = context.pages[-1], 0
    for seconds in moments(3):
        time.sleep(seconds)
        with page.expect_event("load"):
            wire.cut()
            time.sleep(seconds)
            wire.mend()
        epoch = found_again(page, epoch)
