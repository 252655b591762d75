"""The Try it tab in a real browser, with the run that comes along and with a tiny one."""

import re

from tests.browser.conftest import (
    DESKTOP,
    PHONE,
    TRY,
    Held,
    at_rest,
    button,
    choose_run,
    fits_everywhere,
    open_page,
    run_field,
    tab,
    visit,
)
from tests.browser.drawing import draw_seven
from tests.tiny import picture

PICTURES_OF_A_DRAWING = 3  # its background, its layer, and both in one


def try_it(browser, address: str, width: int = DESKTOP):
    page, foreign = open_page(browser, address, width)
    page.get_by_text("classes; test accuracy").wait_for()
    return page, foreign


def show(page, view: str) -> None:
    page.get_by_role("radio", name=view, exact=True).check()


def test_a_drawn_seven_is_a_seven_and_is_uploaded_once(browser, shared_address, serious_findings):
    page, foreign = try_it(browser, shared_address, PHONE)
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
    choose_run(page, "Example: handwritten digits")
    draw_seven(page)
    button(page, "What is it?").click()
    best = page.locator(".answer .best .name")
    best.wait_for()
    assert best.inner_text() == "7"
    assert page.locator(".answers").get_attribute("aria-live") == "polite"
    assert page.locator("[aria-live=assertive]").count() == 0
    found = serious_findings(page, "answer")
    show(page, "Where the model looked")
    page.get_by_text("no evidence").wait_for()
    assert page.locator(".answer figure img").count() == 2
    assert fits_everywhere(page)
    found += serious_findings(page, "heat map")
    show(page, "Compare phases")
    page.locator(".stage").first.wait_for()
    assert page.locator(".stage h5").all_inner_texts() == ["Features only", "After warm-up"]
    assert fits_everywhere(page)
    found += serious_findings(page, "steps")
    assert found == []
    assert foreign == []
    assert sum(url.endswith("/upload") for url in asked) == PICTURES_OF_A_DRAWING
    assert at_rest(page, asked) == []
    page.close()


def test_a_run_chosen_by_hand_stays_when_the_newest_arrives(browser, page_address):
    page = browser.new_page()
    answers = Held(page)
    visit(page, page_address)
    answers.pass_on()
    run = run_field(page, TRY)
    run.fill("ann/cats")
    run.press("Enter")
    answers.let_go()
    assert run.input_value() == "ann/cats"
    page.close()


def test_several_pictures_are_answered_beside_a_broken_one(browser, shared_address, tmp_path):
    for number in range(3):
        picture(number, 0).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_text("hello")
    page, _ = try_it(browser, shared_address)
    tab(page, "Photos")
    chooser = page.locator("#try-photos input[type=file]")
    chooser.set_input_files(sorted(tmp_path.glob("*.*")))
    page.locator(".answer").nth(3).wait_for()
    assert page.locator(".answer .best").count() == 3
    assert page.get_by_text("this is not an image that can be read").count() == 1
    page.close()


def test_the_phases_of_a_run_are_compared(browser, page_address, tmp_path):
    picture(1, 0).save(tmp_path / "photo.png")
    page, _ = try_it(browser, page_address)
    run_field(page, TRY).click()
    page.get_by_role("option", name=re.compile("stripes")).click()
    page.locator(TRY).get_by_text("3 classes").wait_for()
    tab(page, "Photos")
    page.locator("#try-photos input[type=file]").set_input_files(tmp_path / "photo.png")
    page.locator(".answer .best").wait_for()
    show(page, "Compare phases")
    page.locator(".stage").nth(2).wait_for()
    titles = page.locator(".stage h5").all_inner_texts()
    assert titles == ["Features only", "After warm-up", "After fine-tuning"]
    page.close()
