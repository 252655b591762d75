"""The Try it tab in a real browser, with the run that comes along and with a tiny one."""

import re

import pytest

from tests.browser.conftest import DESKTOP, PHONE, button, draw_seven, open_page, tab
from tests.tiny import TINY, draw_classes, picture
from transfer.recipe import train

SECONDS_TO_ANSWER = 60_000


def try_it(browser, address: str, width: int = DESKTOP):
    page, strangers = open_page(browser, address, width)
    tab(page, "Try it")
    page.get_by_text("of its test images are right").wait_for(timeout=SECONDS_TO_ANSWER)
    return page, strangers


def show(page, view: str) -> None:
    page.get_by_role("radio", name=view, exact=True).check()


def fits(page, width: int) -> bool:
    return page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_first_visitor_draws_a_seven_and_sees_why(browser, page_address, width):
    page, strangers = try_it(browser, page_address, width)
    draw_seven(page)
    button(page, "What is it?").click()
    best = page.locator(".answer .best .name")
    best.wait_for(timeout=SECONDS_TO_ANSWER)
    assert best.inner_text() == "7"
    show(page, "What it looked at")
    page.get_by_text("no evidence").wait_for()
    assert page.locator(".answer figure img").count() == 2
    assert fits(page, width)
    show(page, "Compare the steps")
    page.locator(".stage").first.wait_for()
    assert page.locator(".stage h5").all_inner_texts() == ["Features only", "After warm-up"]
    assert fits(page, width)
    assert strangers == []
    page.close()


def test_several_pictures_are_answered_beside_one_that_is_none(browser, page_address, tmp_path):
    for number in range(3):
        picture(number, 0).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_text("hello")
    page, _ = try_it(browser, page_address)
    tab(page, "Photos")
    chooser = page.locator("#try-photos input[type=file]")
    chooser.set_input_files(sorted(tmp_path.glob("*.*")))
    page.locator(".answer").nth(3).wait_for(timeout=SECONDS_TO_ANSWER)
    assert page.locator(".answer .best").count() == 3
    assert page.get_by_text("this is no image that can be read").count() == 1
    page.close()


def test_a_finished_run_is_compared_with_itself_step_by_step(
    browser, page_address, page_runs, tmp_path
):
    train(draw_classes(tmp_path / "shapes"), out=page_runs / "shapes", **TINY)
    picture(1, 0).save(tmp_path / "photo.png")
    page, _ = try_it(browser, page_address)
    page.get_by_label("Run", exact=True).click()
    page.get_by_role("option", name=re.compile("shapes")).click()
    page.get_by_text("3 classes").wait_for(timeout=SECONDS_TO_ANSWER)
    tab(page, "Photos")
    page.locator("#try-photos input[type=file]").set_input_files(tmp_path / "photo.png")
    page.locator(".answer .best").wait_for(timeout=SECONDS_TO_ANSWER)
    show(page, "Compare the steps")
    page.locator(".stage").nth(2).wait_for(timeout=SECONDS_TO_ANSWER)
    titles = page.locator(".stage h5").all_inner_texts()
    assert titles == ["Features only", "After warm-up", "After fine-tune"]
    page.close()
