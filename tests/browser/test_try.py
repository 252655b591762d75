"""The Try it tab in a real browser, with the run that comes along and with a tiny one."""

import re

import pytest

from tests.browser.conftest import (
    CHROMIUM,
    DESKTOP,
    FLAGS,
    PHONE,
    TRY,
    Held,
    at_rest,
    button,
    choose_run,
    console_errors_of,
    fits_everywhere,
    open_page,
    run_field,
    tab,
    visit,
)
from tests.browser.drawing import DIGITS, FEW, MANY, best, draw
from tests.tiny import picture

DIGITS_RIGHT, SURE = 20, 80.0  # of 22; percent
SECONDS = 3
MANY_FILES, MILLISECONDS_TO_CLEAR = 100, 10_000  # all of these files take longer
CHOSEN_RUN = "#step-try input[aria-label=Run]"
DARK = """() => {
    const canvas = document.querySelector(".drawing canvas");
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
        .filter((value, i) => i % 4 === 0 && value < 128).length;
}"""
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
COUNT = """() => {
    const shown = document.querySelector(".shown"), seen = window.seen = new Set();
    new MutationObserver(() => seen.add(shown.querySelector(".answer img")?.src))
        .observe(shown, {subtree: true, childList: true, attributes: true});
}"""


def try_it(browser, address: str, width: int = DESKTOP):
    page, foreign = open_page(browser, address, width)
    page.get_by_text("classes; test accuracy").wait_for()
    return page, foreign


def show(page, view: str) -> None:
    page.get_by_role("radio", name=view, exact=True).check()


def test_a_drawn_seven_is_a_seven_when_the_pen_is_lifted(browser, shared_address, serious_findings):
    page, foreign = try_it(browser, shared_address, PHONE)
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
    choose_run(page, "Example: handwritten digits")
    page.locator(".drawing canvas").wait_for()
    draw(page, "7")
    name, score = best(page)
    assert name == "7" and score > SURE
    heard = page.locator("#step-try [role=status][aria-live=polite]", has_text="Probably 7")
    heard.wait_for(state="attached")
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
    assert not any(url.endswith("/upload") for url in asked)
    assert at_rest(page, asked) == []
    show(page, "Predictions")
    page.locator(".answer .verdict").wait_for()
    draw(page, "0")  # the pen is still the pen after the canvas was cleared
    assert best(page)[0] == "0"
    page.close()


@pytest.mark.full
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nearly_all_drawn_digits_are_right(browser, shared_address, width):
    page, _ = try_it(browser, shared_address, width)
    choose_run(page, "Example: handwritten digits")
    page.locator(".drawing canvas").wait_for()
    found = []
    for digit in DIGITS:
        for events in (FEW, MANY):
            draw(page, digit, events)
            found.append((digit[0], *best(page)))
    assert sum(digit == name for digit, name, _ in found) >= DIGITS_RIGHT, found
    assert all(name == "7" and score > SURE for digit, name, score in found if digit == "7"), found
    page.close()


def test_a_camera_is_answered_as_it_looks(browser, shared_address):
    page, _ = try_it(browser, shared_address)
    tab(page, "Camera or clipboard")
    button(page, "Use the camera").click()
    page.get_by_text("No camera was found. Connect one, or add photos.").wait_for()
    page.close()
    with browser.browser_type.launch(executable_path=str(CHROMIUM), args=FLAGS + CAMERA) as seeing:
        page, _ = try_it(seeing, shared_address)
        tab(page, "Camera or clipboard")
        button(page, "Use the camera").click()
        page.locator(".answer .verdict").wait_for()
        page.evaluate(COUNT)
        page.wait_for_timeout(1_000 * SECONDS)
        assert page.evaluate("window.seen.size") >= SECONDS  # on a busy machine; else four times
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        button(page, "Stop at this photo").click()
        at_rest(page, asked)
        show(page, "Where the model looked")  # of the last photo: no other comes
        page.locator(".answer .pair").wait_for()
        at_rest(page, asked)
        page.evaluate(COUNT)
        page.wait_for_timeout(1_000)
        assert page.evaluate("window.seen.size") == 0
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
    assert page.locator(".answer .verdict").count() == 3
    assert page.get_by_text("this is not an image that can be read").count() == 1
    button(page, "Clear").locator("visible=true").click()
    page.get_by_text("the answer appears here").wait_for()
    chooser.set_input_files([tmp_path / "0.png"] * MANY_FILES)
    page.get_by_text(f"of {MANY_FILES} pictures are answered").wait_for()
    button(page, "Clear").locator("visible=true").click()
    page.get_by_text("the answer appears here").wait_for(timeout=MILLISECONDS_TO_CLEAR)
    page.wait_for_timeout(1_000)
    assert page.get_by_text("the answer appears here").is_visible()  # no late answer has come
    page.close()


def test_what_was_asked_last_is_there_again(visitors, shared_address, shared_runs, tmp_path):
    context = visitors()
    page, foreign = visit(context.new_page(), shared_address)
    choose_run(page, "Example: handwritten digits")
    page.locator(".drawing canvas").wait_for()
    draw(page, "7")
    assert best(page)[0] == "7"
    show(page, "Compare phases")
    page.locator(".stage").nth(1).wait_for()
    page.reload()
    page.locator(".stage h4, .answer h4", has_text="your drawing").wait_for()
    page.locator(".stage").nth(1).wait_for()
    assert "digits" in page.locator(CHOSEN_RUN).input_value()
    page.wait_for_function(f"({DARK})() > 500")
    tab(page, "Photos")
    picture(2, 0).save(tmp_path / "stripes.png")
    page.locator("#try-photos input[type=file]").set_input_files(tmp_path / "stripes.png")
    page.locator(".answer h4", has_text="stripes.png").wait_for()
    again, _ = visit(context.new_page(), shared_address)
    again.locator(".answer h4", has_text="stripes.png").wait_for()
    tab(again, "Photos")
    again.locator("#try-photos").get_by_text("stripes").wait_for()
    assert again.evaluate(DARK) == 0
    again.goto(f"{shared_address}/?run=user%2Fmodel")  # there is none
    again.locator(f"{TRY} .answers[role=alert]").wait_for()
    choose_run(again, "Example: twelve kinds")
    again.locator(".answer h4", has_text="stripes.png").wait_for()
    other, _ = visit(visitors().new_page(), shared_address)
    for uploaded in (shared_runs.parent / "gradio").rglob("stripes.png"):
        uploaded.unlink()
    errors = console_errors_of(again)
    again.reload()
    for each in (other, again):
        each.get_by_text("classes; test accuracy").wait_for()
        at_rest(each, [])
        assert each.get_by_text("the answer appears here").is_visible()
    assert errors == foreign == []


def test_the_phases_of_a_run_are_compared(browser, page_address, tmp_path):
    picture(1, 0).save(tmp_path / "photo.png")
    page, _ = try_it(browser, page_address)
    run_field(page, TRY).click()
    page.get_by_role("option", name=re.compile("stripes")).click()
    page.locator(TRY).get_by_text("3 classes").wait_for()
    tab(page, "Photos")
    page.locator("#try-photos input[type=file]").set_input_files(tmp_path / "photo.png")
    page.locator(".answer .verdict").wait_for()
    show(page, "Compare phases")
    page.locator(".stage").nth(2).wait_for()
    titles = page.locator(".stage h5").all_inner_texts()
    assert titles == ["Features only", "After warm-up", "After fine-tuning"]
    page.close()
