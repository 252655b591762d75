"""A running training is found again after a reload, in a new tab, and after a cut connection."""

import random
import time

import pytest

from tests.browser.conftest import DESKTOP, button, leave, visit
from tests.browser.wire import Wire

TIMES, SECONDS_BEFORE, PATIENCE = 20, 0.5, {"timeout": 60_000}
LATER = """number => {
    const shown = /epoch (\\d+)\\//.exec(document.querySelector(".status")?.textContent)?.[1];
    return shown > number && Number(shown);
}"""


def later_epoch(page, number: int) -> int:
    """The epoch that the page shows, as soon as it is later than `number`."""
    return page.wait_for_function(LATER, arg=number, **PATIENCE).json_value()


@pytest.fixture(scope="module")
def wire(shared_address):
    """Between the browser and the app."""
    wire = Wire(int(shared_address.rpartition(":")[2]))
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def context(browser, wire):
    """One visitor, whose training runs until it is stopped."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900})
    page, _ = visit(context.new_page(), wire.address)
    button(page, "Start training").click()
    later_epoch(page, 0)
    yield context
    leave(context)


def reload(context, wire, seconds: float) -> None:
    context.pages[-1].reload(wait_until="commit")


def open_new_tab(context, wire, seconds: float) -> None:
    context.pages[-1].close()
    context.new_page().goto(wire.address, wait_until="commit")


def cut_connection(context, wire, seconds: float) -> None:
    with context.pages[-1].expect_event("load"):
        wire.cut()
        time.sleep(seconds)
        wire.mend()


@pytest.mark.full
@pytest.mark.parametrize("disturb", [reload, open_new_tab, cut_connection])
def test_a_running_training_is_found_again(context, wire, disturb):
    chance, epoch = random.Random(1), 0
    for _ in range(TIMES):
        seconds = chance.uniform(0, SECONDS_BEFORE)
        time.sleep(seconds)
        disturb(context, wire, seconds)
        page = context.pages[-1]
        page.locator(".status").first.wait_for(**PATIENCE)  # shown without a click
        epoch = later_epoch(page, epoch)
        assert button(page, "Start training").is_disabled()
        assert button(page, "Stop and save the result").is_enabled()
