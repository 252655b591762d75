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
APP = ("app.py",)
QUICK = ("-m", "tests.browser.quick_app")


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
    with app_up(page_runs, page_said, tmp_path_factory.mktemp("gradio")) as address:
        yield address
    print(page_said.read_text(errors="replace"))  # for the report of a test that failed


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory) -> Path:
    """The folder of runs of `shared_address`, empty at first."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.fixture(scope="module")
def shared_address(shared_runs):
    """The address of a server for strangers, whose trainings are the quick ones of `quick_app`."""
    said, gradio = shared_runs.parent / "said.txt", shared_runs.parent / "gradio"
    with app_up(shared_runs, said, gradio, program=QUICK, SYSTEM="spaces") as address:
        yield address
    print(said.read_text(errors="replace"))


@contextlib.contextmanager
def app_up(runs: Path, said: Path, gradio: Path, program: tuple[str, ...] = APP, **environment):
    """The address of an app that is up; `said` holds what it prints."""
    port = free_port()
    command = [sys.executable, *program, "--port", str(port), "--runs", str(runs)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(gradio)} | environment
    with said.open("wb") as printed:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not _answers(address):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


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
    return visit(browser.new_page(viewport={"width": width, "height": 900}), address)


def visit(page, address: str):
    """The same, with a page that is there: one visitor's are those of one context."""
    strangers = strangers_of(page, address)
    page.goto(address)
    page.get_by_role("button", name="Show images", exact=True).wait_for(timeout=30_000)
    return page, strangers


def strangers_of(page, address: str) -> list[str]:
    """Requests to other hosts, as they come."""
    host, strangers = address.partition("/?")[0], []

    def note(request):
        if not request.url.startswith((host, "data:", "blob:")):
            strangers.append(request.url)

    page.on("request", note)
    return strangers


def complaints_of(page) -> list[str]:
    """Errors in the browser's console and in scripts, as they come."""
    complaints = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def fits(page) -> bool:
    """Whether nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


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
