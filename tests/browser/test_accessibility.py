"""Accessibility of each tab: axe-core and the keyboard."""

import pytest

from tests.browser.conftest import (
    DESKTOP,
    PHONE,
    button,
    choose_run,
    open_page,
    resized,
    tab,
    visit,
)
from tests.browser.test_reattach import later_epoch

TABS = ("Data", "Train", "Try it", "Publish")
MOST_STOPS = 120
# the controls that Tab must come by in each tab, in this order; a radio is one stop
CONTROLS = {
    "Data": ["Dataset", "Show images", "Check for problems", "Train on these"],
    "Train": ["Fine-tune in two phases", "Balanced", "Unfreeze in phase 2", "Start training"],
    "Try it": ["Run", "What is it?", "Predictions"],
    "Publish": ["Repository", "Private", "Download as zip"],
}
FOCUSED = """() => {
    const at = document.activeElement;
    return [at.getAttribute("aria-label"), at.labels?.[0]?.innerText, at.innerText]
        .filter(text => text).join(" | ").slice(0, 200);
}"""


@pytest.fixture(scope="module")
def page(browser, page_address):
    """The page with images shown and a run to try and to publish, for all tests of its looks."""
    page, _ = open_page(browser, page_address)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    tab(page, "Try it")
    choose_run(page, "stripes")
    page.locator("#try-photos").wait_for()  # for it is a run on photos
    tab(page, "Publish")
    page.get_by_text("No photos and no file names of photos are sent").wait_for()
    yield page
    page.close()


def ready(page, name: str) -> None:
    """Waits for the last of the controls of the tab in sight."""
    page.get_by_text(CONTROLS[name][-1]).locator("visible=true").first.wait_for()


@pytest.mark.parametrize("width", [DESKTOP, pytest.param(PHONE, marks=pytest.mark.full)])
def test_no_tab_has_a_serious_finding(page, width, serious_findings):
    resized(page, width)
    found = []
    for name in TABS:
        tab(page, name)
        ready(page, name)
        found += serious_findings(page, name)
    assert found == []


def stops(page, until: str) -> list[str]:
    """The names of what Tab comes by, as far as the one that begins with `until`."""
    found = []
    while len(found) < MOST_STOPS and not (found and until in found[-1]):
        page.keyboard.press("Tab")
        found.append(page.evaluate(FOCUSED))
    return found


@pytest.mark.parametrize("name", TABS)
def test_tab_reaches_every_control_in_order(page, name):
    resized(page, DESKTOP)
    if name == "Try it":
        tab(page, name)
        tab(page, "Draw")
    page.get_by_role("tab", name=name, exact=True).focus()
    page.keyboard.press("Enter")
    wanted = CONTROLS[name]
    ready(page, name)
    found = stops(page, wanted[-1])
    places = [next((i for i, at in enumerate(found) if text in at), None) for text in wanted]
    assert None not in places, (places, found)
    assert places == sorted(places), found


def test_the_keyboard_starts_and_stops_a_training(visitors, shared_address):
    page, _ = visit(visitors().new_page(), shared_address)
    page.get_by_role("tab", name="Train", exact=True).focus()
    page.keyboard.press("Enter")
    button(page, "Start training").wait_for()
    stops(page, "Start training")
    for key in ("Enter", "Space"):
        page.locator("button:enabled", has_text="Start training").wait_for()
        button(page, "Start training").focus()
        page.keyboard.press(key)
        later_epoch(page, 0)
        status = page.locator(".status [role=status]").first
        role = status.get_attribute("role"), status.get_attribute("aria-live")
        assert role == ("status", "polite")
        page.locator("button:enabled", has_text="Stop and save").wait_for()
        button(page, "Stop and save the result").focus()
        page.keyboard.press(key)
        page.get_by_text("Stopped before anything was learned").wait_for()
    assert page.locator("[aria-live=assertive]").count() == 0
