"""The whole app as a person meets it: its own process, a real browser, the real VGG16."""

import json
import urllib.request

import pytest

from tests.browser.conftest import (
    DESKTOP,
    PHONE,
    browser,
    button,
    draw_seven,
    open_page,
    page_address,
    page_runs,
    tab,
)
from tests.tiny import draw_classes

__all__ = ["browser", "page_address", "page_runs"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_source_is_shown_and_the_page_fits(browser, page_address, width):
    page, strangers = open_page(browser, page_address, width)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    for name in ("Data", "Train", "Try it", "Publish"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert strangers == []
    page.close()


def test_only_the_intended_endpoint_is_public(page_address):
    with urllib.request.urlopen(f"{page_address}/gradio_api/info") as answer:
        assert list(json.load(answer)["named_endpoints"]) == ["/classify"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_own_classes_are_made_photo_by_photo(browser, page_address, tmp_path, width):
    drawn = draw_classes(tmp_path, each=6, classes=("cat", "dog"))
    page, strangers = open_page(browser, page_address, width)
    page.get_by_role("button", name="Make your own classes").click()
    for name in ("cat", "dog"):
        page.get_by_label("New class").fill(name)
        button(page, "Add class").click()
        page.get_by_text(f"{name}: 0 photos, 5 more needed").wait_for()
        chooser = page.locator("input[type=file][accept*='image']").first
        chooser.set_input_files(sorted((drawn / name).iterdir()))
        page.get_by_text(f"{name}: 6 photos").wait_for()
    button(page, "Use these photos").click()
    page.get_by_text("2 classes, 12 images").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.reload()
    page.get_by_role("button", name="Make your own classes").click()
    page.get_by_text("dog: 6 photos").wait_for()
    assert strangers == []
    page.close()


@pytest.mark.slow
def test_train_reload_stop_and_try_a_drawn_seven(browser, page_address):
    page, strangers = open_page(browser, page_address)
    tab(page, "Train")
    button(page, "Start training").click()
    page.get_by_text("Phase 2 of 2").wait_for(timeout=240_000)
    assert page.locator(".vgg li.learns").count() == 2
    page.reload()
    tab(page, "Train")
    page.locator(".charts svg").first.wait_for(timeout=20_000)
    assert button(page, "Start training").is_disabled()
    button(page, "Stop and keep what it learned").click()
    page.get_by_text("of the test images are right").wait_for(timeout=120_000)
    assert page.get_by_text("after fine-tune").count() == 1
    tab(page, "Try it")
    page.wait_for_function(
        "document.querySelector('input[aria-label=Run]').value.startsWith('digits')"
    )
    draw_seven(page)
    button(page, "What is it?").click()
    guess = page.locator(".answer .best .name")
    guess.wait_for(timeout=60_000)
    assert guess.inner_text() == "7"
    assert strangers == []
    page.close()
