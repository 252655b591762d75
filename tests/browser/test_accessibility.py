"""Each tab as assistive technology finds it, by axe-core and by the keyboard."""

import re
import shutil

import pytest

from tests.browser.conftest import DESKTOP, PHONE, button, draw_seven, fits, open_page, tab, visit
from tests.browser.test_reattach import later_epoch

TABS = ("Data", "Train", "Try it", "Publish")
GRAVE = ("serious", "critical")
MOST_STOPS = 120
MILLISECONDS = 60_000
# the controls that Tab must come by in each tab, in this order; a radio is one stop
CONTROLS = {
    "Data": ["Images", "Show images", "Look for problems", "Train on these"],
    "Train": ["Fine-tune in two phases", "Balanced", "Unfreeze in phase 2", "Start training"],
    "Try it": ["Run", "What is it?", "Best classes"],
    "Publish": ["Repository", "Private", "Download as zip"],
}
FOCUSED = """() => {
    const at = document.activeElement;
    return [at.getAttribute("aria-label"), at.labels?.[0]?.innerText, at.innerText]
        .filter(text => text).join(" | ").slice(0, 200);
}"""


@pytest.fixture(scope="module")
def page_runs(tmp_path_factory, run):
    """One finished run, called stripes, so that every tab has something to show."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(run.path, folder / "stripes")
    return folder


@pytest.fixture
def grave(record_property):
    """Says which grave findings there are on the page as it stands."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found_on(page, where: str) -> list[tuple]:
        page.wait_for_timeout(500)  # colours fade in
        found = []
        for finding in axe.run(page).response["violations"]:
            places = [node["html"][:120] for node in finding["nodes"]]
            record_property(f"{where}: {finding['impact']} {finding['id']}", places)
            if finding["impact"] in GRAVE:
                found.append((where, finding["id"], places))
        return found

    return found_on


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_tab_has_a_serious_finding(browser, page_address, width, theme, grave):
    page, _ = open_page(browser, f"{page_address}/?__theme={theme}", width)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    found = []
    for name in TABS:
        tab(page, name)
        if name == "Publish":
            page.get_by_text("No photo and no file name of a photo is sent").wait_for()
        found += grave(page, name)
    assert found == []
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_answer_a_heat_map_and_the_steps_have_none(browser, shared_address, theme, grave):
    page, _ = open_page(browser, f"{shared_address}/?__theme={theme}", PHONE)
    tab(page, "Try it")
    page.get_by_text("10 classes;").wait_for(timeout=MILLISECONDS)
    draw_seven(page)
    button(page, "What is it?").click()
    page.locator(".answer .best").wait_for(timeout=MILLISECONDS)
    found = grave(page, "answer")
    for view, shown in (("What it looked at", ".legend"), ("Compare the steps", ".stage")):
        page.get_by_role("radio", name=view, exact=True).check()
        page.locator(shown).first.wait_for(timeout=MILLISECONDS)
        found += grave(page, view)
        assert fits(page)
    assert found == []
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_training_that_has_ended_has_none(browser, page_address, stripes, theme, grave):
    page, _ = open_page(browser, f"{page_address}/?__theme={theme}", PHONE)
    images = page.get_by_role("combobox", name=re.compile("^Images"))
    images.fill(str(stripes))
    images.press("Enter")
    tab(page, "Train")
    page.get_by_role("radio", name=re.compile("^Quick")).check()
    button(page, "Start training").click()
    page.get_by_text("of the test images are right").first.wait_for(timeout=3 * MILLISECONDS)
    page.locator("ul.runs li").nth(1).wait_for()
    assert page.locator(".charts svg").count() == 3
    assert grave(page, "trained") == []
    assert fits(page)
    page.close()


def stops(page, until: str) -> list[str]:
    """The names of what Tab comes by, as far as the one that begins with `until`."""
    found = []
    while len(found) < MOST_STOPS and not (found and until in found[-1]):
        page.keyboard.press("Tab")
        found.append(page.evaluate(FOCUSED))
    return found


@pytest.mark.parametrize("name", TABS)
def test_tab_comes_by_every_control_in_the_order_of_the_page(browser, page_address, name):
    page, _ = open_page(browser, page_address)
    page.get_by_role("tab", name=name, exact=True).focus()
    page.keyboard.press("Enter")
    wanted = CONTROLS[name]
    page.get_by_text(wanted[-1]).locator("visible=true").first.wait_for()
    page.wait_for_timeout(500)
    found = stops(page, wanted[-1])
    places = [next((i for i, at in enumerate(found) if text in at), None) for text in wanted]
    assert None not in places, (places, found)
    assert places == sorted(places), found
    page.close()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_training_is_started_and_stopped_by_the_keyboard(browser, shared_address, key):
    context = browser.new_context()
    page, _ = visit(context.new_page(), shared_address)
    page.get_by_role("tab", name="Train", exact=True).focus()
    page.keyboard.press("Enter")
    button(page, "Start training").wait_for()
    stops(page, "Start training")
    page.keyboard.press(key)
    later_epoch(page, 0)
    button(page, "Stop and keep what it learned").focus()
    page.keyboard.press(key)
    page.get_by_text("Stopped before anything was learned").wait_for()
    context.close()


def test_what_changes_by_itself_is_told_politely(browser, shared_address):
    context = browser.new_context()
    page, _ = visit(context.new_page(), shared_address)
    tab(page, "Train")
    button(page, "Start training").click()
    later_epoch(page, 0)
    status = page.locator(".status").first
    assert (status.get_attribute("role"), status.get_attribute("aria-live")) == ("status", "polite")
    tab(page, "Try it")
    answers = page.locator(".answers")
    assert answers.get_attribute("aria-live") == "polite"
    assert page.locator("[aria-live=assertive]").count() == 0
    tab(page, "Train")
    button(page, "Stop and keep what it learned").click()
    page.get_by_text("Stopped before anything was learned").wait_for()
    context.close()
