"""Suspicious labels in a real browser: listed, decided about by keyboard, and trained again."""

import pytest

from tests.browser.conftest import action, button, fits_everywhere, visit
from tests.tiny import TINY, drained, draw_mislabelled
from transfer.training.recipe import training_events


@pytest.fixture(scope="module")
def mislabelled(page_runs, tmp_path_factory) -> str:
    """The name of a run on photos of which some have a wrong label."""
    photos = draw_mislabelled(tmp_path_factory.mktemp("photos") / "mislabelled")
    options = TINY | {"precision": "fp32"}
    drained(training_events(str(photos), out=page_runs / "mislabelled", **options))
    return "mislabelled"


@pytest.mark.slow
def test_labels_are_corrected_by_keyboard_and_trained_again(
    visitors, page_address, mislabelled, serious_findings
):
    page, foreign = visit(visitors().new_page(), page_address)
    action(page, "Open", mislabelled).click()
    page.get_by_role("button", name="Check labels").click()
    button(page, "List suspicious labels").click()
    cards = page.locator(".suspects li")
    cards.first.wait_for()
    assert cards.count() == 3
    button(page, "Relabel the first 2, as estimated").click()
    page.get_by_text("2 to relabel, 0 to leave out, 1 to keep.").wait_for()
    button(page, "Keep all").click()
    cards.first.get_by_label("Keep").focus()
    for key in ("x", "ArrowDown", "r", "ArrowUp", "k"):  # leaves out the first, relabels the third
        page.keyboard.press(key)
    page.get_by_text("1 to relabel, 1 to leave out, 1 to keep.").wait_for()
    assert cards.nth(0).get_by_label("Leave out").is_checked()
    cards.nth(2).get_by_role("combobox").focus()
    cards.nth(2).get_by_role("combobox").select_option("spots")
    page.mouse.move(0, 0)
    assert serious_findings(page, "labels") == [] and fits_everywhere(page)
    button(page, "Train again with these labels").click()
    page.get_by_text("Before and after the corrections").wait_for()
    page.get_by_text("1 label was changed, 1 photo was left out").wait_for()
    assert foreign == []
