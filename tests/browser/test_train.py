"""The Train tab in a real browser: settings, a training, and the run afterwards."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.browser.conftest import (
    DESKTOP,
    HEIGHT,
    PHONE,
    action,
    button,
    fits,
    fits_everywhere,
    open_page,
    resized,
    visit,
)
from tests.browser.slow_app import SECONDS_TO_TELL
from tests.tiny import draw_classes

QUICK = {
    "Image size": "32",
    "Head": "avg",
    "Warm-up epochs": "3",
    "Fine-tune epochs": "2",
    "Views": "1",
}

ELSEWHERE = "Pacific/Kiritimati"  # 14 hours before UTC
STOP_IN_VIEW = """() => {
    const stop = [...document.querySelectorAll("#training button:enabled")]
        .find(button => button.textContent.includes("Stop"));
    const {top, bottom} = stop?.getBoundingClientRect() ?? {};
    return top > 0 && bottom < innerHeight;
}"""
RECORD_NOTIFICATIONS = """window.announced = [];
window.Notification = class extends Notification {
    constructor(title, options) { super(title, options); announced.push(options.body); }
};"""
UNFOLD_AND_TYPE = """([fold, label, text]) => {
    const starting = (kind, name) => [...document.querySelectorAll(kind)].find(
        each => each.textContent.trim().startsWith(name));
    const type = () => {
        const at = starting("label", label)?.querySelector("input, textarea");
        if (!at) return requestAnimationFrame(type);
        at.value = text;
        at.dispatchEvent(new Event("input", {bubbles: true}));
    };
    starting("button", fold).click();
    type();
}"""


def choose(page, source: str) -> None:
    """Types a source and leaves the field."""
    images = page.get_by_role("combobox", name=re.compile("^Dataset"))
    images.fill(source)
    images.press("Enter")


def fill(page, settings: dict[str, str]) -> None:
    page.get_by_role("button", name="Advanced settings").click()
    for label, value in settings.items():
        field(page, label).fill(value)


def field(page, label: str):
    """The text field of this label, which its explanation follows."""
    return page.get_by_role("textbox", name=re.compile(f"^{label}"))


def step(page, name: str):
    """The heading of a step, a button on a phone."""
    return page.locator(".step h2").get_by_role("button", name=name, exact=True)


def parts(page, state: str) -> int:
    return page.locator(f".vgg li.{state}").count()


def wait_for_parts(page, state: str, number: int) -> None:
    """Waits until so many parts of the picture are in a state."""
    page.wait_for_function(
        "([state, number]) => document.querySelectorAll(`.vgg li.${state}`).length === number",
        arg=[state, number],
    )


def test_settings_change_the_diagram_and_everything_fits(browser, page_address):
    page, foreign = open_page(browser, page_address)
    page.locator(".vgg").wait_for()
    assert (parts(page, "frozen"), parts(page, "later"), parts(page, "learns")) == (4, 1, 1)
    page.get_by_role("radio", name="Thorough").click()
    page.get_by_text("then block4 and up too").wait_for()
    wait_for_parts(page, "later", 2)
    page.get_by_role("radio", name="Features only").click()
    page.get_by_text("A linear classifier on the frozen body").wait_for()
    wait_for_parts(page, "later", 0)
    page.get_by_role("button", name="Advanced settings").click()
    field(page, "Seed").wait_for()
    assert fits_everywhere(page)
    assert foreign == []
    page.close()


def test_a_value_typed_right_after_unfolding_stays(browser, page_address):
    page, _ = open_page(browser, page_address)
    page.get_by_role("button", name="Advanced settings").wait_for()
    page.wait_for_timeout(1_000)
    page.evaluate(UNFOLD_AND_TYPE, ["Advanced settings", "Image size", "37"])
    field(page, "Image size").wait_for()
    page.wait_for_timeout(1_000)
    assert field(page, "Image size").input_value() == "37"
    page.close()


def test_an_invalid_setting_is_explained(browser, page_address):
    page, _ = open_page(browser, page_address)
    fill(page, {"Image size": "7"})
    page.keyboard.press("Tab")
    page.locator(".warning").get_by_text("Image size must be").wait_for()
    button(page, "Start training").click()
    page.locator("#training .warning").get_by_text("Image size must be").wait_for()
    assert page.get_by_text("No training yet").count() == 1
    page.close()


@pytest.fixture(scope="module")
def trained(browser, page_address, tmp_path_factory):
    """(the page after a training on shapes, requests to other hosts), for the tests in order."""
    size = {"width": DESKTOP, "height": HEIGHT}
    context = browser.new_context(viewport=size, timezone_id=ELSEWHERE)
    page, foreign = visit(context.new_page(), page_address)
    choose(page, str(draw_classes(tmp_path_factory.mktemp("photos") / "shapes", each=12)))
    fill(page, QUICK)
    page.get_by_role("combobox", name="Body", exact=True).click()
    page.get_by_role("option", name="bundled", exact=True).click()
    button(page, "Start training").click()
    page.get_by_text("test images are right").first.wait_for(timeout=240_000)
    page.locator("ul.runs").get_by_text("shapes").first.wait_for()
    yield page, foreign
    context.close()


@pytest.mark.slow
def test_a_training_is_followed_from_its_start_to_its_report(trained):
    page, foreign = trained
    assert page.locator(".charts svg").count() == 3
    frozen = 4 + page.get_by_text("fine-tune is used: that").count()
    assert (parts(page, "frozen"), parts(page, "learns")) == (frozen, 6 - frozen)
    unmoved = page.locator(".vgg li.frozen").get_by_text("moved 0", exact=True)
    assert unmoved.count() in (0, frozen)
    time = page.locator("ul.runs time").first
    moment = datetime.fromisoformat(time.get_attribute("datetime"))
    local = moment.astimezone(ZoneInfo(ELSEWHERE))
    assert time.inner_text() == f"{local.day} {local:%b %H:%M}"
    for text in ("Accuracy after each phase", "Confusion matrix", "mistakes"):
        page.get_by_text(text).first.wait_for()
    assert foreign == []


@pytest.mark.slow
def test_a_finished_training_has_no_serious_finding_on_a_phone(trained, serious_findings):
    page, _ = trained
    width = page.viewport_size["width"]
    resized(page, PHONE)
    assert serious_findings(page, "trained") == []
    assert fits(page)
    resized(page, width)


def compare(page, *names: str) -> None:
    """Sets the newest runs whose names begin so side by side."""
    for name in names:
        page.get_by_role("checkbox", name=re.compile(f"^Compare {name}")).first.check()
    button(page, "Compare").click()
    page.get_by_role("region", name="Settings of the runs").wait_for()


@pytest.mark.slow
def test_two_runs_are_compared(trained):
    page, foreign = trained
    compare(page, "shapes", "stripes")
    rows = page.get_by_role("region", name="Settings of the runs").locator("tr")
    found = rows.all_inner_texts()
    assert [re.split("[,\t]", text)[0] for text in found[1:]] == ["shapes", "stripes"]
    assert page.get_by_text("The runs were evaluated on different test images").count() == 1
    assert fits_everywhere(page)
    assert foreign == []


def wait_for_focus(page, name: str) -> None:
    """On the control of this name."""
    page.wait_for_function(
        "name => (document.activeElement.ariaLabel || document.activeElement.innerText) === name",
        arg=name,
    )


@pytest.mark.slow
def test_a_run_is_renamed_downloaded_and_deleted(trained):
    page, foreign = trained
    action(page, "Rename", "shapes").click()
    page.keyboard.type("Stripes and spots")
    page.keyboard.press("Enter")
    page.get_by_text("Report of Stripes and spots").wait_for()
    wait_for_focus(page, "Rename Stripes and spots")
    second, _ = visit(page.context.new_page(), page.url)
    action(second, "Delete", "Stripes").wait_for()
    with page.expect_download() as download:
        action(page, "Download", "Stripes").click()
    assert download.value.suggested_filename.endswith(".zip")
    action(page, "Delete", "Stripes").click()
    wait_for_focus(page, "Undo Stripes and spots")
    page.get_by_text("Report of Stripes and spots").wait_for(state="detached")
    page.get_by_text("No training yet").wait_for()
    assert page.locator("#comparison").inner_text() == ""
    second.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    action(second, "Undo", "Stripes").click()
    action(second, "Delete", "Stripes").wait_for()
    second.get_by_text("test images are right").wait_for()
    second.close()
    action(page, "Publish", "stripes").click()
    wait_for_focus(page, "Publish")
    assert foreign == []


def test_the_end_stays_when_the_answer_to_stop_comes_late(visitors, slow_address):
    page, _ = visit(visitors().new_page(), slow_address)
    button(page, "Start training").click()
    page.get_by_text("warm-up epoch ").locator("visible=true").wait_for()
    button(page, "Stop and save the result").click()
    page.get_by_text("Stopped before anything was learned").wait_for()
    page.wait_for_timeout(2_000 * SECONDS_TO_TELL)
    assert page.get_by_text("Stopped before anything was learned").is_visible()


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_starts_again(browser, page_address, tmp_path):
    page, _ = open_page(browser, page_address)
    (tmp_path / "nothing").mkdir()
    choose(page, str(tmp_path / "nothing"))
    button(page, "Start training").click()
    page.get_by_text("This training failed").wait_for()
    page.locator(".status").get_by_text("expected class folders").wait_for()
    page.reload()
    page.get_by_text("This training failed").wait_for()
    with page.expect_response("**/queue/join*"):
        button(page, "Start again").click()
    page.get_by_text("This training failed").wait_for()
    page.close()


def test_a_training_stays_in_view_and_its_end_is_announced(visitors, slow_address):
    visitor = visitors(PHONE)
    visitor.grant_permissions(["notifications"])
    visitor.add_init_script(RECORD_NOTIFICATIONS)
    page, _ = visit(visitor.new_page(), slow_address)
    step(page, "Train").click()
    button(page, "Start training").click()
    for opened in (None, "Teach", "Try"):
        if opened:
            step(page, opened).click()
        assert page.locator(".step:not(.folded)").count() == 1
        for position in ("0", "document.body.scrollHeight"):
            page.evaluate(f"scrollTo(0, {position})")
            page.wait_for_function(STOP_IN_VIEW)
    page.wait_for_function("document.title.includes('% warm-up')")
    assert page.locator("#runs-button[data-done$='%']").count() == 1
    assert page.evaluate("announced") == []
    button(page, "Stop and save the result").click()
    page.wait_for_function("document.title.startsWith('Stopped')")
    assert page.locator("#runs-button[data-done='']").count() == 1
    (said,) = page.evaluate("announced")
    assert said.startswith("Stopped")
