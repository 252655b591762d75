"""Accessibility of the page: axe-core and the keyboard."""

import re

import pytest

from tests.browser.conftest import (
    DESKTOP,
    HEIGHT,
    PHONE,
    button,
    choose_run,
    dataset_shown,
    resized,
    tab,
    visit,
)
from tests.browser.test_reattach import later_epoch

TABS = ("Publish", "Training and runs")
MOST_STOPS = 120
# the controls that Tab must come by, in this order; a radio is one stop
CONTROLS = [
    "Your own photos",
    "Dataset",
    "Show images",
    "Check for problems",
    "Balanced",
    "Start training",
    "Advanced settings",
    "Run",
    "Clear",
    "Predictions",
    "Training and runs",
    "Compare stripes",
    "Open stripes",
    "Delete stripes",
]
TO_PUBLISH = ["Repository", "Private", "Download as zip"]
FOCUSED = """() => {
    const at = document.activeElement;
    return [at.getAttribute("aria-label"), at.labels?.[0]?.innerText, at.innerText]
        .filter(text => text).join(" | ").slice(0, 200);
}"""


@pytest.fixture(scope="module")
def page(browser, page_address):
    """The page, in a German browser, with images shown and a run to try and to publish, for all
    tests of its looks."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": HEIGHT}, locale="de-DE")
    page, _ = visit(context.new_page(), page_address)
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    page.get_by_role("radio", name="Your own photos").check()
    choose_run(page, "stripes")
    page.locator("#try-photos").wait_for()  # for it is a run on photos
    yield page
    context.close()


@pytest.mark.parametrize("width", [DESKTOP, pytest.param(PHONE, marks=pytest.mark.full)])
def test_no_part_has_a_serious_finding(page, width, serious_findings):
    resized(page, width)
    found = []
    for name in TABS:
        tab(page, name)
        if name == "Publish":
            page.get_by_text("No photos and no file names of photos are sent").wait_for()
        found += serious_findings(page, name)
    assert found == []


def stops(page, until: str) -> list[str]:
    """The names of what Tab comes by, as far as the one that begins with `until`."""
    found = []
    while len(found) < MOST_STOPS and not (found and until in found[-1]):
        page.keyboard.press("Tab")
        found.append(page.evaluate(FOCUSED))
    return found


def test_tab_reaches_every_control_in_order(page):
    resized(page, DESKTOP)
    tab(page, "Training and runs")
    tab(page, "Draw")
    page.get_by_role("radio", name="Your own photos").focus()
    assert in_order([page.evaluate(FOCUSED), *stops(page, CONTROLS[-1])], CONTROLS)
    page.get_by_role("tab", name="Publish", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Repository").wait_for()
    assert in_order(stops(page, TO_PUBLISH[-1]), TO_PUBLISH)


def test_every_word_is_english_and_no_name_is_missing(page):
    tab(page, "Photos")
    upload = page.locator("#try-photos")
    assert upload.inner_text().split("\n")[-3:] == ["Drop files here", "- or -", "Choose files"]
    upload.locator("input").set_input_files({"name": "A.TXT", "mimeType": "", "buffer": b"a"})
    button(page, "Clear").first.wait_for()
    names = page.evaluate(
        "[...document.querySelectorAll('[aria-label]')].map(each => each.ariaLabel)"
    )
    assert "Add more files" in names
    assert [name for name in names if re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []
    assert page.evaluate("document.documentElement.lang") == "en"


def in_order(found: list[str], wanted: list[str]) -> bool:
    rest = iter(found)
    missed = [text for text in wanted if not any(text in at for at in rest)]
    assert missed == [], found
    return True


def test_the_keyboard_starts_and_stops_a_training(visitors, shared_address):
    page, _ = visit(visitors().new_page(), shared_address)
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
