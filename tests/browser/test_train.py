"""The Train tab in a real browser: what it foretells, a training, and the run afterwards."""

import re

import pytest

from tests.browser.conftest import (
    DESKTOP,
    PHONE,
    browser,
    button,
    open_page,
    page_address,
    tab,
)
from tests.tiny import draw_classes

__all__ = ["browser", "page_address"]
QUICK = {
    "Image size": "32",
    "Head": "avg",
    "Warm-up epochs": "3",
    "Fine-tune epochs": "2",
    "Views": "1",
}


def choose(page, source: str) -> None:
    """Types a source and leaves the field."""
    tab(page, "Data")
    images = page.get_by_role("combobox", name=re.compile("^Images"))
    images.fill(source)
    images.press("Enter")
    tab(page, "Train")


def fill(page, settings: dict[str, str]) -> None:
    page.get_by_role("button", name="Advanced settings").click()
    for label, value in settings.items():
        field(page, label).fill(value)


def field(page, label: str):
    """The text field of this label, which its explanation follows."""
    return page.get_by_role("textbox", name=re.compile(f"^{label}"))


def parts(page, state: str) -> int:
    return page.locator(f".vgg li.{state}").count()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_settings_change_the_picture_and_everything_fits(browser, page_address, width):
    page, strangers = open_page(browser, page_address, width)
    tab(page, "Train")
    assert (parts(page, "frozen"), parts(page, "later"), parts(page, "learns")) == (4, 1, 1)
    page.get_by_role("radio", name="Thorough").click()
    page.get_by_text("Then block4 and block5 learn too").wait_for()
    assert parts(page, "later") == 2
    page.get_by_role("radio", name="Feature extraction only").click()
    page.get_by_text("a linear classifier learns on what it sees").wait_for()
    assert parts(page, "later") == 0
    page.get_by_role("button", name="Advanced settings").click()
    field(page, "Seed").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert strangers == []
    page.close()


def test_a_setting_that_does_not_fit_is_a_sentence_where_it_is_typed(browser, page_address):
    page, _ = open_page(browser, page_address)
    tab(page, "Train")
    fill(page, {"Image size": "7"})
    page.keyboard.press("Tab")
    page.locator(".warning").get_by_text("image size must be").wait_for()
    button(page, "Start training").click()
    page.get_by_test_id("toast-body").get_by_text("image size must be").wait_for()
    assert page.get_by_text("Nothing is training yet").count() == 1
    page.close()


@pytest.mark.slow
def test_a_training_from_start_to_its_report_and_the_run_afterwards(
    browser, page_address, tmp_path
):
    page, strangers = open_page(browser, page_address)
    choose(page, str(draw_classes(tmp_path / "shapes", each=12)))
    fill(page, QUICK)
    page.get_by_role("combobox", name="Body", exact=True).click()
    page.get_by_role("option", name="bundled", exact=True).click()
    button(page, "Start training").click()
    page.get_by_text("of the test images are right").wait_for(timeout=240_000)
    assert page.locator(".charts svg").count() == 3
    assert (parts(page, "frozen"), parts(page, "learns")) == (4, 2)
    assert page.locator(".vgg li.frozen").get_by_text("moved 0", exact=True).count() == 4
    for text in ("What each step bought, on the same", "What was taken for what", "mistakes"):
        page.get_by_text(text).first.wait_for()
    page.locator("ul.runs").get_by_text("shapes").first.wait_for()
    page.get_by_label("New name").fill("Stripes and spots")
    button(page, "Rename").click()
    page.locator("ul.runs").get_by_text("Stripes and spots").wait_for()
    with page.expect_download() as download:
        button(page, "Download as zip").click()
    assert download.value.suggested_filename.endswith(".zip")
    button(page, "Delete").click()
    page.get_by_text("Delete Stripes and spots for good?").wait_for()
    button(page, "Yes, delete it").click()
    page.get_by_text("No finished runs yet").wait_for()
    assert strangers == []
    page.close()


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_starts_again(browser, page_address, tmp_path):
    page, _ = open_page(browser, page_address)
    (tmp_path / "nothing").mkdir()
    choose(page, str(tmp_path / "nothing"))
    button(page, "Start training").click()
    page.get_by_text("This training failed").wait_for(timeout=60_000)
    page.get_by_text("expected class folders").first.wait_for()
    page.reload()
    tab(page, "Train")
    button(page, "Start again").click()
    page.get_by_text("Loading torch").wait_for()
    page.get_by_text("This training failed").wait_for(timeout=60_000)
    page.close()
