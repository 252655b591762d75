"""The page in a process of its own and a real browser, which all tests of the page share."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

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
ROOT = Path(__file__).parents[2]
PHONE, DESKTOP = 390, 1280


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def page_runs(tmp_path_factory) -> Path:
    """The folder of runs of `page_address`, empty at first."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def page_said(tmp_path_factory) -> Path:
    """The file that holds all that the app of `page_address` prints."""
    return tmp_path_factory.mktemp("said") / "said.txt"


@pytest.fixture(scope="module")
def page_address(page_runs, page_said, tmp_path_factory):
    """The address of `python app.py`, which is up."""
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--runs", str(page_runs)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("gradio"))}
    with page_said.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(address):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(timeout=20)
    print(page_said.read_text(errors="replace"))  # for the report of a test that failed


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=5).status == 200
    return False


@pytest.fixture(scope="module")
def browser():
    """A real Chromium; skips where there is none."""
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
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name: str) -> None:
    """Goes to the tab of exactly this name."""
    page.get_by_role("tab", name=name, exact=True).click()


def draw_seven(page) -> None:
    """A seven, drawn with the mouse on the page's sketchpad."""
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
