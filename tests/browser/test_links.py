"""Links that open the page on a dataset, a model or a tab, in a real browser."""

from urllib.parse import quote

import pytest

from tests.browser.conftest import (
    HEIGHT,
    MILLISECONDS_OF_PATIENCE,
    PHONE,
    TRY,
    console_errors_of,
    fits_everywhere,
    run_field,
)

IN_SIGHT = """step => {
    const top = document.getElementById(step)?.getBoundingClientRect().top;
    return top > -1 && top < innerHeight;  // it scrolls to whole pixels
}"""


@pytest.fixture
def opened(browser, page_address):
    """Opens the page with a query; returns (page, its console errors)."""
    pages = []

    def go(query: str):
        page = browser.new_page(viewport={"width": PHONE, "height": HEIGHT})
        pages.append(page)
        page.set_default_timeout(MILLISECONDS_OF_PATIENCE)
        errors = console_errors_of(page)
        page.goto(f"{page_address}/?{query}")
        return page, errors

    yield go
    for page in pages:
        page.close()


def in_sight(page, step: str) -> None:
    """Waits until the page has gone to a step."""
    page.wait_for_function(IN_SIGHT, arg=f"step-{step}")


def test_a_link_opens_the_page_on_its_model_once(opened):
    page, errors = opened("run=user%2Fmodel")
    in_sight(page, "try")
    run = run_field(page, TRY)
    page.wait_for_function("field => field.value === 'user/model'", arg=run.element_handle())
    page.get_by_text("found none called 'user/model'", exact=False).wait_for()
    assert "run=" not in page.url and errors == [] and fits_everywhere(page)


def test_a_link_opens_a_dataset(opened):
    page, _ = opened("source=digits&tab=train")
    in_sight(page, "train")
    page, _ = opened("tab=publish")
    page.get_by_role("tab", name="Publish", exact=True, selected=True).wait_for()
    page.wait_for_function(IN_SIGHT, arg="publish-button")
    page, _ = opened("source=user%2Fphotos")
    in_sight(page, "data")
    field = page.get_by_label("Dataset", exact=True)
    field.wait_for()
    page.wait_for_function("field => field.value === 'user/photos'", arg=field.element_handle())


@pytest.mark.parametrize("value", ["/etc/passwd", "<img src=x onerror=alert(1)>", "../.."])
def test_a_hostile_link_is_one_message(opened, value):
    page, errors = opened(f"source={quote(value)}")
    page.get_by_text("This link's source cannot be opened", exact=False).wait_for()
    assert page.get_by_label("Dataset", exact=True).input_value() != value
    assert errors == []
