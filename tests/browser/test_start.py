"""How soon `python app.py` can be used."""

import time

import pytest

from tests.browser.conftest import app_up, open_page

SECONDS_AT_MOST = 45.0  # on slow machines that do something else as well


@pytest.mark.full
def test_the_page_can_be_used_soon_after_the_app_was_started(browser, tmp_path, record_property):
    started = time.monotonic()
    with app_up(tmp_path / "runs", tmp_path / "log.txt", tmp_path / "gradio") as address:
        page, _ = open_page(browser, address)
        seconds = time.monotonic() - started
        page.close()
    record_property("seconds", seconds)
    print(f"interactive after {seconds:.1f} s")
    assert seconds < SECONDS_AT_MOST
