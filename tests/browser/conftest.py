"""The page in a process of its own and a real browser, which all tests of the page share."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.ports import own_port

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
PHONE, DESKTOP, HEIGHT = 390, 1280, 900
MILLISECONDS_TO_ANSWER, MILLISECONDS_OF_REST, MOST_STRETCHES = 2_500, 1_500, 8
MILLISECONDS_OF_PATIENCE = 90_000  # on a busy machine whatever is awaited may take its time
KNOWN = "localStorage.getItem('transfer-visitor')"
CHOSEN = """name => [...document.querySelectorAll("input[aria-label=Run]")].some(
    field => field.checkVisibility() && field.value.startsWith(name))"""
APP = ("app.py",)
QUICK, SLOW = ("-m", "tests.browser.quick_app"), ("-m", "tests.browser.slow_app")
THEMES = ("light", "dark")
IN_THEME = "dark => document.body.classList.contains('dark') === dark"
STILL = """() => document.getAnimations().every(each =>
    each.playState !== "running" || each.effect.getComputedTiming().endTime === Infinity)"""


@pytest.fixture(scope="package")
def page_runs(tmp_path_factory, run) -> Path:
    """The folder of runs of `page_address`: one, called stripes, and what tests leave there."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(run.path, folder / "stripes")
    return folder


@pytest.fixture(scope="package")
def page_said(tmp_path_factory) -> Path:
    """The file that holds all that the app of `page_address` prints."""
    return tmp_path_factory.mktemp("said") / "said.txt"


@pytest.fixture(scope="package")
def page_address(page_runs, page_said, tmp_path_factory):
    """The address of `python app.py`, which is up; each new context is another visitor."""
    with app_up(page_runs, page_said, tmp_path_factory.mktemp("gradio")) as address:
        yield address
    print(page_said.read_text(errors="replace"))  # for the report of a test that failed


@pytest.fixture(scope="package")
def shared_runs(tmp_path_factory) -> Path:
    """The folder of runs of `shared_address`, empty at first."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.fixture(scope="package")
def shared_address(shared_runs):
    """The address of a server for strangers, whose trainings are the quick ones of `quick_app`."""
    with strangers_server(shared_runs) as address:
        yield address


@pytest.fixture(scope="package")
def slow_address(tmp_path_factory):
    """The address of the app of a busy server, `slow_app`."""
    folder = tmp_path_factory.mktemp("slow")
    paths = (folder / name for name in ("runs", "said.txt", "gradio"))
    with app_up(*paths, program=SLOW) as address:
        yield address
    print((folder / "said.txt").read_text(errors="replace"))


@contextlib.contextmanager
def strangers_server(runs: Path):
    """The same, beside a folder of runs; what it prints is in `said.txt` there."""
    said, gradio = runs.parent / "said.txt", runs.parent / "gradio"
    with app_up(runs, said, gradio, program=QUICK, SYSTEM="spaces") as address:
        yield address
    print(said.read_text(errors="replace"))


@contextlib.contextmanager
def app_up(runs: Path, said: Path, gradio: Path, program: tuple[str, ...] = APP, **environment):
    """The address of an app that is up; `said` holds what it prints."""
    cores = str(os.cpu_count())  # as at a person's, whatever the tests themselves are left
    own = {
        "GRADIO_TEMP_DIR": str(gradio),
        "OMP_NUM_THREADS": cores,
        "TRANSFER_CACHE": str(runs.parent / "cache"),
    }
    with own_port() as port, said.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, *program, "--port", str(port), "--runs", str(runs)],
            cwd=ROOT,
            env=os.environ | own | environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 120
            while not _answers(address):
                assert process.poll() is None, said.read_text(errors="replace")
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=5).status == 200
    return False


@pytest.fixture(scope="package")
def browser():
    """A real Chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}, which is not installed here")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)


@pytest.fixture
def people(browser):
    """Makes contexts, one a person; they leave with the test, and nothing of theirs trains on."""
    contexts = []

    def another(width: int = DESKTOP):
        contexts.append(browser.new_context(viewport={"width": width, "height": HEIGHT}))
        return contexts[-1]

    yield another
    for context in contexts:
        leave(context)


def leave(context) -> None:
    """Closes it, once a training that its pages show was stopped, for others wait for it."""
    from playwright.sync_api import Error

    for page in context.pages:
        stops = page.locator("button:enabled", has_text="Stop and save the result")
        with contextlib.suppress(Error):  # it has just ended, or the app has
            if stops.count():
                stops.evaluate("button => button.click()", timeout=20_000)  # in whatever tab it is
                stops.wait_for(state="detached", timeout=20_000)
    context.close()


def open_page(browser, address: str, width: int = DESKTOP):
    """(page, list of requests that went to other hosts)."""
    return visit(browser.new_page(viewport={"width": width, "height": HEIGHT}), address)


def visit(page, address: str):
    """The same, with a page that is there: one visitor's are those of one context."""
    page.set_default_timeout(MILLISECONDS_OF_PATIENCE)
    strangers = strangers_of(page, address)
    page.goto(address)
    button(page, "Show images").wait_for()
    page.wait_for_function(KNOWN)
    return page, strangers


def strangers_of(page, address: str) -> list[str]:
    """Requests to other hosts, as they come."""
    host, strangers = address.partition("/?")[0], []

    def note(request):
        if not request.url.startswith((host, "data:", "blob:")):
            strangers.append(request.url)

    page.on("request", note)
    return strangers


class Held:
    """What a page asks of the server waits until it is let go."""

    def __init__(self, page):
        self._page, self._waiting, self._taken, self._holds = page, [], 0, True
        page.route("**/queue/join*", self._take)

    def pass_on(self) -> None:
        """What waits by now; whatever follows waits in its turn."""
        while self._waiting:
            self._waiting.pop().continue_()
        self._page.wait_for_timeout(MILLISECONDS_TO_ANSWER)

    def let_go(self) -> None:
        """What waits, with all that follows, until nothing more does for a while."""
        self._holds, before = False, None
        while self._taken != before:
            before = self._taken
            self.pass_on()
        self._holds = True

    def _take(self, route) -> None:
        self._taken += 1
        if self._holds:
            self._waiting.append(route)
        else:
            route.continue_()


def at_rest(page, asked: list[str]) -> list[str]:
    """What `asked` collects while nobody does anything: nothing, once every request has ended."""
    for _ in range(MOST_STRETCHES):
        asked.clear()
        page.wait_for_timeout(MILLISECONDS_OF_REST)
        if not asked:
            break
    return list(asked)


def complaints_of(page) -> list[str]:
    """Errors in the browser's console and in scripts, as they come."""
    complaints = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def fits(page) -> bool:
    """Whether nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def grave(record_property):
    """Says which serious or critical findings axe-core has on a page, in each theme."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found_on(page, where: str) -> list[tuple]:
        found = []
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_function(IN_THEME, arg=theme == "dark")
            page.wait_for_function(STILL)  # colours fade in
            for finding in axe.run(page).response["violations"]:
                places = [node["html"][:120] for node in finding["nodes"]]
                about = f"{where}, {theme}: {finding['impact']} {finding['id']}"
                record_property(about, places)
                if finding["impact"] in ("serious", "critical"):
                    found.append((about, places))
        return found

    return found_on


def resized(page, width: int):
    """The page in a window of that width."""
    page.set_viewport_size({"width": width, "height": HEIGHT})
    frames(page)
    return page


def frames(page) -> None:
    """Waits until the browser has drawn what was done."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def fits_everywhere(page) -> bool:
    """Whether it `fits` a desktop and a phone; the window keeps its width."""
    width = page.viewport_size["width"]
    fitting = [fits(resized(page, each)) for each in (DESKTOP, PHONE)]
    resized(page, width)
    return all(fitting)


def button(page, name: str):
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name: str) -> None:
    """Goes to the tab of exactly this name."""
    page.get_by_role("tab", name=name, exact=True).click()


def choose_run(page, name: str) -> None:
    """The newest run whose name begins so, in the Run field of the tab in sight."""
    page.get_by_label("Run", exact=True).locator("visible=true").click()
    page.get_by_role("option", name=re.compile(f"^.?{name}")).first.click()
