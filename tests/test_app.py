"""The whole app as a person meets it: its own process, a real browser, the real VGG16."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.tiny import draw_classes

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROOT = Path(__file__).parent.parent
PHONE, DESKTOP = 390, 1280


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def page_address(tmp_path_factory):
    """The address of `python app.py`, up and with an empty folder of runs."""
    port, runs = free_port(), tmp_path_factory.mktemp("runs")
    command = [sys.executable, "app.py", "--port", str(port), "--runs", str(runs)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("gradio"))}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(address):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(timeout=20)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=5).status == 200
    return False


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}, which is not installed here")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)


def open_page(browser, address: str, width: int = DESKTOP):
    """(page, list of requests that went to other hosts)."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    strangers = []

    def note(request):
        if not request.url.startswith((address, "data:", "blob:")):
            strangers.append(request.url)

    page.on("request", note)
    page.goto(address)
    page.get_by_role("button", name="Show images", exact=True).wait_for(timeout=30_000)
    return page, strangers


def button(page, name: str):
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_source_is_shown_and_the_page_fits(browser, page_address, width):
    page, strangers = open_page(browser, page_address, width)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    for name in ("Data", "Train", "Try it"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert strangers == []
    page.close()


def test_only_the_intended_endpoint_is_public(page_address):
    with urllib.request.urlopen(f"{page_address}/gradio_api/info") as answer:
        assert list(json.load(answer)["named_endpoints"]) == ["/classify"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_own_classes_are_made_photo_by_photo(browser, page_address, tmp_path, width):
    drawn = draw_classes(tmp_path, each=6, classes=("cat", "dog"))
    page, strangers = open_page(browser, page_address, width)
    page.get_by_role("button", name="Make your own classes").click()
    for name in ("cat", "dog"):
        page.get_by_label("New class").fill(name)
        button(page, "Add class").click()
        page.get_by_text(f"{name}: 0 photos, 5 more needed").wait_for()
        chooser = page.locator("input[type=file][accept*='image']").first
        chooser.set_input_files(sorted((drawn / name).iterdir()))
        page.get_by_text(f"{name}: 6 photos").wait_for()
    button(page, "Use these photos").click()
    page.get_by_text("2 classes, 12 images").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.reload()
    page.get_by_role("button", name="Make your own classes").click()
    page.get_by_text("dog: 6 photos").wait_for()
    assert strangers == []
    page.close()


@pytest.mark.slow
def test_train_reload_stop_and_try_a_drawn_seven(browser, page_address):
    page, strangers = open_page(browser, page_address)
    tab(page, "Train")
    button(page, "Start training").click()
    page.get_by_text("Phase 2 of 2").wait_for(timeout=240_000)
    assert page.locator("ol.network li.learns").count() == 2
    page.reload()
    tab(page, "Train")
    page.locator(".charts svg").first.wait_for(timeout=20_000)
    assert button(page, "Start training").is_disabled()
    button(page, "Stop and keep what it learned").click()
    page.get_by_text("of the test images are right").wait_for(timeout=120_000)
    assert page.get_by_text("after fine-tune").count() == 1
    tab(page, "Try it")
    tab(page, "Draw a digit")
    _draw_seven(page)
    button(page, "What is it?").click()
    guess = page.get_by_test_id("label-output-value")
    guess.wait_for(timeout=60_000)
    assert guess.inner_text().strip() == "7"
    assert strangers == []
    page.close()


def _draw_seven(page) -> None:
    canvas = page.locator("canvas").last
    canvas.wait_for()
    time.sleep(1)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a place on the square in the middle, each -1…1."""
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return middle[0] + 110 * x, middle[1] + 110 * y

    page.mouse.move(*at(-0.6, -0.8))
    page.mouse.down()
    page.mouse.move(*at(0.6, -0.8), steps=12)
    page.mouse.move(*at(-0.2, 0.9), steps=20)
    page.mouse.up()
    time.sleep(1)
