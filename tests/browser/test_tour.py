"""From the first image to a run that is deleted again, as a person goes through the page."""

import re

import pytest

from tests.browser.conftest import (
    CHOSEN,
    DESKTOP,
    PHONE,
    PUBLISH,
    TRY,
    action,
    button,
    console_errors_of,
    dataset_shown,
    fits,
    open_page,
    run_field,
    tab,
    unfold,
)
from tests.browser.drawing import draw
from tests.browser.test_reattach import later_epoch
from tests.browser.test_train import compare, fill, wait_for_parts

NAME = "Digits of the tour"
SMALL = {"Image size": "32", "Images per class": "40", "Warm-up epochs": "4000"}


def start_on_digits(page) -> None:
    """A training on a few digits with so many epochs that it has to be stopped."""
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    page.get_by_role("radio", name=re.compile("^Quick")).check()
    fill(page, SMALL)
    button(page, "Start training").click()


def reload_and_stop(page) -> None:
    epoch = later_epoch(page, 1)
    page.reload()
    later_epoch(page, epoch)  # the page goes to a running training by itself
    assert button(page, "Start training").is_disabled()
    assert page.locator(".charts svg").first.is_visible()
    wait_for_parts(page, "learns", 1)
    wait_for_parts(page, "frozen", 5)
    assert fits(page)
    button(page, "Stop and save the result").click()
    page.get_by_text("test images are right").first.wait_for()
    status = page.locator(".status").inner_text()
    assert re.search(r"\d of \d+ test images", status) and "Stopped in warm-up" in status


def try_a_drawing(page) -> None:
    page.wait_for_function(CHOSEN, arg="digits")
    unfold(page)
    page.locator(".drawing canvas").wait_for()
    draw(page, "7")
    page.locator(".answer .verdict").wait_for()
    page.get_by_role("radio", name="Compare phases", exact=True).check()
    page.locator(".stage").first.wait_for()
    assert page.locator(".stage h5").all_inner_texts() == ["Features only", "After warm-up"]
    assert fits(page)


def rename(page) -> None:
    action(page, "Rename", "digits, quick").click()
    page.keyboard.type(NAME)
    page.keyboard.press("Enter")
    page.locator("ul.runs").get_by_text(NAME).wait_for()
    page.get_by_text(f"Report of {NAME}").wait_for()


def delete(page) -> None:
    """At the second time: the first is undone."""
    tab(page, "Training and runs")
    for name in ("Delete", "Undo", "Delete"):
        action(page, name, NAME).click()
        action(page, "Delete" if name == "Undo" else "Undo", NAME).wait_for()
    page.get_by_text(f"Report of {NAME}").wait_for(state="detached")


def is_listed(page) -> bool:
    """Whether Try it and Publish list the run of the tour, which has just come or gone."""
    found = []
    tab(page, "Publish")
    for part in (TRY, PUBLISH):
        page.wait_for_timeout(2_000)  # gradio's list fails when it shrinks while it is open
        field = run_field(page, part)
        field.click()
        page.get_by_role("option").first.wait_for()
        found.append(any(NAME in text for text in page.get_by_role("option").all_inner_texts()))
        field.press("Escape")
    assert len(set(found)) == 1, found
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, pytest.param(DESKTOP, marks=pytest.mark.full)])
def test_from_the_first_image_to_a_run_that_is_deleted_again(browser, page_address, width):
    page, foreign = open_page(browser, page_address, width)
    start_on_digits(page)
    reload_and_stop(page)
    errors = console_errors_of(page)  # a reload cuts off what gradio was reading
    try_a_drawing(page)
    rename(page)
    compare(page, NAME, "stripes")
    assert is_listed(page)
    assert fits(page)
    delete(page)
    assert not is_listed(page)
    assert (foreign, errors) == ([], [])
    page.close()
