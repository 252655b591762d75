"""The whole way of a person: images, training, stop, a drawing, why, another name, and gone."""

import re

import pytest

from tests.browser.conftest import (
    CHOSEN,
    DESKTOP,
    PHONE,
    button,
    choose_run,
    complaints_of,
    fits,
    open_page,
    tab,
)
from tests.browser.drawing import draw_seven
from tests.browser.test_train import compare, fill

SECONDS = 1_000  # in the milliseconds of the browser
EPOCHS_BEFORE_STOP = 8
NAME = "Digits of the tour"


def runs_offered(page) -> list[str]:
    """What the Run field of the tab in sight offers."""
    field = page.get_by_label("Run", exact=True).locator("visible=true")
    field.click()
    page.get_by_role("option").first.wait_for()
    offered = page.get_by_role("option").all_inner_texts()
    field.press("Escape")
    return [text.strip() for text in offered]


def start_on_digits(page) -> None:
    """A quick training, long enough to be stopped."""
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    button(page, "Train on these").click()
    page.get_by_role("radio", name=re.compile("^Quick")).check()
    page.get_by_role("button", name="Advanced settings").click()
    page.wait_for_timeout(1 * SECONDS)  # what has just been unfolded may still take its values
    page.get_by_role("textbox", name=re.compile("^Warm-up epochs")).fill("400")
    button(page, "Start training").click()


def stop_after_some_epochs(page) -> None:
    page.wait_for_function(
        "number => /epoch (\\d+)/.exec(document.querySelector('.status').textContent)?.[1]"
        " > number",
        arg=EPOCHS_BEFORE_STOP,
        timeout=150 * SECONDS,
    )
    assert page.locator(".charts svg").first.is_visible()
    assert page.locator(".vgg li.learns").count() == 1
    assert page.locator(".vgg li.frozen").count() == 5
    assert fits(page)
    button(page, "Stop and save the result").click()
    page.get_by_text("of the test images are right").first.wait_for()
    assert re.search(r"\d\d\.\d% of the test images", page.locator(".status").inner_text())


def try_a_seven(page) -> None:
    tab(page, "Try it")
    page.wait_for_function(CHOSEN, arg="digits")
    draw_seven(page)
    button(page, "What is it?").click()
    page.locator(".answer .best .name").wait_for()
    # after few epochs it need not be the best one
    assert "7" in page.locator(".answer .scores .name").all_inner_texts()
    page.get_by_role("radio", name="Where the model looked", exact=True).check()
    page.get_by_text("no evidence").wait_for()
    assert page.locator(".answer figure img").count() == 2
    assert fits(page)
    page.get_by_role("radio", name="Compare phases", exact=True).check()
    page.locator(".stage").first.wait_for()
    assert page.locator(".stage h5").all_inner_texts() == ["Features only", "After warm-up"]
    assert fits(page)


def rename(page) -> None:
    tab(page, "Train")
    page.get_by_label("New name").fill(NAME)
    button(page, "Rename").click()
    page.locator("ul.runs").get_by_text(NAME).wait_for()


def delete(page) -> None:
    """Asked once, and only then is it gone."""
    tab(page, "Train")
    button(page, "Delete").click()
    page.get_by_text(f"Delete {NAME} for good?").wait_for()
    assert page.locator("ul.runs").get_by_text(NAME).count() == 1
    button(page, "Yes, delete it").click()
    page.locator("ul.runs").get_by_text(NAME).wait_for(state="detached")


def is_offered(page, name: str) -> bool:
    """Whether Try it and Publish offer a run of this name, which has just come or gone."""
    offered = []
    for where in ("Try it", "Publish"):
        tab(page, where)
        page.wait_for_timeout(2 * SECONDS)
        offered += [any(name in run for run in runs_offered(page))]
    assert len(set(offered)) == 1, offered
    return offered[0]


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_from_the_first_image_to_a_run_that_is_deleted_again(browser, page_address, width):
    page, strangers = open_page(browser, page_address, width)
    complaints = complaints_of(page)
    start_on_digits(page)
    stop_after_some_epochs(page)
    try_a_seven(page)
    rename(page)
    compare(page, NAME, "stripes")
    assert fits(page)
    assert is_offered(page, NAME)
    assert fits(page)
    delete(page)
    assert not is_offered(page, NAME)
    assert (strangers, complaints) == ([], [])
    page.close()


def look_at_another_report(page, name: str) -> None:
    """It stays in sight while the training goes on."""
    choose_run(page, name)
    button(page, "Show report").click()
    report = page.get_by_text(f"Report of {name}")
    report.wait_for()
    page.wait_for_timeout(2 * SECONDS)
    assert report.count() == 1


@pytest.mark.slow
def test_train_reload_stop_and_try_a_drawn_seven(browser, page_address):
    page, strangers = open_page(browser, page_address)
    tab(page, "Train")
    fill(page, {"Warm-up epochs": "12", "Fine-tune epochs": "60"})
    button(page, "Start training").click()
    page.get_by_text("Phase 2 of 2").wait_for(timeout=240 * SECONDS)
    assert page.locator(".vgg li.learns").count() == 2
    page.reload()
    tab(page, "Train")
    page.locator(".charts svg").first.wait_for()
    assert button(page, "Start training").is_disabled()
    look_at_another_report(page, "stripes")
    button(page, "Stop and save the result").click()
    page.get_by_text("of the test images are right").wait_for()
    assert page.get_by_text("After fine-tuning").count() == 1
    tab(page, "Try it")
    page.wait_for_function(CHOSEN, arg="digits")
    draw_seven(page)
    button(page, "What is it?").click()
    guess = page.locator(".answer .best .name")
    guess.wait_for()
    assert guess.inner_text() == "7"
    assert strangers == []
    page.close()
