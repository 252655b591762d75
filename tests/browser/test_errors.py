"""Wrong inputs in a real browser: each is explained beside its field, and nothing is covered."""

import pytest

from tests.browser.conftest import PHONE, TRY, action, at_rest, button, open_page, run_field, tab

# in the browser: the controls that something else covers, once they are in view
COVERED = """() => [...document.querySelectorAll("main button, main input, main textarea")]
    .filter(at => at.checkVisibility() && !at.disabled && !at.matches("[tabindex='-1']"))
    .filter(at => {
        at.scrollIntoView({block: "center"});
        const {x, y, width, height} = at.getBoundingClientRect();
        if (!width || !height) return false;
        const seen = document.elementFromPoint(x + width / 2, y + height / 2);
        return !seen || !(at.contains(seen) || seen.contains(at));
    }).map(at => at.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def page(browser, page_address):
    page, _ = open_page(browser, page_address, PHONE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.get_by_role("radio", name="Your own photos").check()
    page.get_by_role("button", name="Upload a zip").click()
    page.get_by_role("button", name="Advanced settings").click()
    yield page
    page.close()


def typed(label: str, text: str, press: str = ""):
    def give(page, tmp_path):
        at_rest(page, page.asked)  # nobody types before an earlier answer has come
        page.get_by_label(label, exact=False).locator("visible=true").first.fill(text)
        page.keyboard.press("Tab")
        if press:
            button(page, press).click()

    return give


def pressed(name: str):
    return lambda page, tmp_path: button(page, name).click()


def dataset(name: str, press: str):
    def give(page, tmp_path):
        box = page.get_by_label("Dataset", exact=True)
        box.fill(name)
        box.press("Enter")
        button(page, press).click()

    return give


def file(where: str, name: str):
    def give(page, tmp_path):
        (tmp_path / name).write_text("hello")
        page.locator(where).first.set_input_files(tmp_path / name)

    return give


def run(page, tmp_path) -> None:
    run_field(page, TRY).fill("no/such model")
    run_field(page, TRY).press("Enter")


def renamed(page, tmp_path) -> None:
    action(page, "Rename", "").click()
    page.get_by_label("New name of").fill(" ")
    button(page, "Save").click()


# (what a person does, what the page says)
WRONG = (
    (typed("Name of the class", " ", ""), "Expected a class name"),
    (typed("Name of the class", "a/b", ""), "Expected a class name"),
    (typed("Name of the class", "CON", ""), "Windows cannot have"),
    (typed("Name of the class", "train", ""), "the name of a split"),
    (typed("Name of the class", "class 2", ""), "exists already"),
    (file("#classes input[type=file]", "hello.jpg"), "Added 0 of 1 photos"),
    (pressed("Remove the chosen upload"), "Choose one under Dataset first."),
    (file("input[accept*='.zip']", "pets.rar"), "Invalid file type"),
    (pressed("Start training"), "Expected at least 5 photos in each class"),
    (dataset("nowhere", "Show images"), "nowhere"),
    (dataset("/etc/passwd", "Check for problems"), "passwd"),
    (dataset("user/na me", "Start training"), "na me"),
    (dataset("digits", "Show images"), "10 classes, 1,797 images"),
    (typed("Image size", "7", "Start training"), "Image size must be"),
    (typed("Image size", "many", "Start training"), "Image size must be"),
    (typed("Warm-up learning rate", "-1", "Start training"), "must be"),
    (typed("Seed", "1.5", "Start training"), "must be"),
    (file("#try-photos input[type=file]", "hello.txt"), "not an image that can be read"),
    (run, "Check its name."),
    (renamed, "1 to 60 printable characters"),
    (pressed("Compare"), "Choose some."),
)


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_after_a_wrong_input_every_control_works(page, tmp_path, number):
    give, says = WRONG[number]
    give(page, tmp_path)
    page.get_by_text(says).locator("visible=true").first.wait_for(timeout=20_000)
    assert page.evaluate(COVERED) == []


def test_publishing_without_a_token_is_explained_beside_the_button(page):
    tab(page, "Publish")
    page.get_by_label("Repository").fill("a b c")
    button(page, "Publish").click()
    page.locator(".note .warning").locator("visible=true").first.wait_for()
