"""A page that nobody touches sends no requests, and its layout does not jump."""

import pytest

from tests.browser.conftest import (
    DESKTOP,
    MILLISECONDS_OF_REST,
    MOST_STRETCHES,
    PHONE,
    Held,
    at_rest,
    dataset_shown,
    frames,
    open_page,
    tab,
    visit,
)

LITTLE_JUMP = 0.025  # of the layout, where browsers' makers call 0.1 good
WATCH_JUMPS = """() => {
    window.jumps = [];
    new PerformanceObserver(seen => seen.getEntries().forEach(entry => {
        if (!entry.hadRecentInput)
            window.jumps.push([entry.value, entry.sources[0]?.node?.outerHTML?.slice(0, 200)]);
    })).observe({type: "layout-shift", buffered: true});
}"""


@pytest.fixture
def asked(browser, shared_address):
    """(the page, the addresses of its requests without their queries)."""
    page, _ = open_page(browser, shared_address, DESKTOP)
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
    yield page, asked
    page.close()


def test_a_page_used_in_haste_comes_to_rest(asked):
    page, asked = asked
    page.reload()
    for view in ("Where the model looked", "Compare phases", "Predictions") * 3:
        page.get_by_role("radio", name=view, exact=True).check()
    assert at_rest(page, asked) == []


@pytest.mark.parametrize("width", [PHONE, pytest.param(DESKTOP, marks=pytest.mark.full)])
def test_nothing_jumps_when_the_server_answers(visitors, page_address, width):
    page = visitors(width).new_page()
    page.add_init_script(f"({WATCH_JUMPS})()")
    answers = Held(page)
    visit(page, page_address)
    assert jumps_at(page, answers) < LITTLE_JUMP, page.evaluate("window.jumps")
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    for name in ("Publish", "Training and runs"):
        tab(page, name)
        assert jumps_at(page, answers) < LITTLE_JUMP, (name, page.evaluate("window.jumps"))


def jumps_at(page, answers: Held) -> float:
    """How much of the layout jumps by what the server answers, once all parts are in place."""
    for _ in range(MOST_STRETCHES):
        frames(page)
        page.evaluate("window.jumps.splice(0)")
        page.wait_for_timeout(MILLISECONDS_OF_REST)
        if not page.evaluate("window.jumps.length"):
            break
    answers.let_go()
    return sum(value for value, _ in page.evaluate("window.jumps"))
