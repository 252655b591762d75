"""The app in a process of its own and a real browser, shared by all tests of the page."""

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
MILLISECONDS_TO_ANSWER, MILLISECONDS_OF_REST, MOST_STRETCHES = 1_500, 1_000, 12
MILLISECONDS_OF_PATIENCE = 90_000  # on a busy machine
KNOWN = "localStorage.getItem('transfer-visitor')"
CHOSEN = """name =>
    document.querySelector("#step-try input[aria-label=Run]").value.startsWith(name)"""
TRY, PUBLISH = "#step-try", "#publish"  # the parts of the page with a field Run
APP = ("app.py",)
QUICK, SLOW = ("-m", "tests.browser.quick_app"), ("-m", "tests.browser.slow_app")
THEMES = ("light", "dark")
IN_THEME = """dark => matchMedia("(prefers-color-scheme: dark)").matches === dark
    && (!window.gradio_config || document.body.classList.contains("dark") === dark)"""
STILL = """() => document.getAnimations().every(each =>
    each.playState !== "running" || each.effect.getComputedTiming().endTime === Infinity)"""


@pytest.fixture(scope="package")
def page_runs(tmp_path_factory, run) -> Path:
    """The runs folder of `page_address`: one run called stripes, and what tests add."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(run.path, folder / "stripes")
    return folder


@pytest.fixture(scope="package")
def page_log(tmp_path_factory) -> Path:
    """The file that the app of `page_address` prints to."""
    return tmp_path_factory.mktemp("log") / "log.txt"


@pytest.fixture(scope="package")
def page_address(page_runs, page_log, tmp_path_factory):
    """The address of a running `python app.py`; each new context is another visitor."""
    with app_up(page_runs, page_log, tmp_path_factory.mktemp("gradio")) as address:
        yield address
    print(page_log.read_text(errors="replace"))  # for the report of a test that failed


@pytest.fixture(scope="package")
def shared_runs(tmp_path_factory) -> Path:
    """The runs folder of `shared_address`, empty at first."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.fixture(scope="package")
def shared_address(shared_runs):
    """The address of a server for strangers, whose trainings are the quick ones of `quick_app`."""
    with strangers_server(shared_runs) as address:
        yield address


@pytest.fixture(scope="package")
def slow_address(tmp_path_factory):
    """The address of `slow_app`, an app that answers late."""
    folder = tmp_path_factory.mktemp("slow")
    paths = (folder / name for name in ("runs", "log.txt", "gradio"))
    with app_up(*paths, program=SLOW) as address:
        yield address
    print((folder / "log.txt").read_text(errors="replace"))


@contextlib.contextmanager
def strangers_server(runs: Path):
    """A server for strangers over a runs folder; it prints to `log.txt` beside that."""
    log, gradio = runs.parent / "log.txt", runs.parent / "gradio"
    with app_up(runs, log, gradio, program=QUICK, SYSTEM="spaces") as address:
        yield address
    print(log.read_text(errors="replace"))


@contextlib.contextmanager
def app_up(runs: Path, log: Path, gradio: Path, program: tuple[str, ...] = APP, **environment):
    """The address of a running app that prints to `log`."""
    cores = str(os.cpu_count())  # as for a user, whatever the tests are limited to
    own = {
        "GRADIO_TEMP_DIR": str(gradio),
        "OMP_NUM_THREADS": cores,
        "TRANSFER_CACHE": str(runs.parent / "cache"),
    }
    with own_port() as port, log.open("wb") as printed:
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
                assert process.poll() is None, log.read_text(errors="replace")
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
def visitors(browser):
    """Makes contexts, one per visitor; their trainings end with the test."""
    contexts = []

    def another(width: int = DESKTOP):
        contexts.append(browser.new_context(viewport={"width": width, "height": HEIGHT}))
        return contexts[-1]

    yield another
    for context in contexts:
        leave(context)


def leave(context) -> None:
    """Stops a training that its pages show, for others wait for it, and closes the context."""
    from playwright.sync_api import Error

    for page in context.pages:
        stops = page.locator("button:enabled", has_text="Stop and save the result")
        with contextlib.suppress(Error):  # it has just ended, or the app has
            if stops.count():
                stops.evaluate("button => button.click()", timeout=20_000)  # in whatever tab it is
                stops.wait_for(state="detached", timeout=20_000)
    context.close()


def open_page(browser, address: str, width: int = DESKTOP):
    """(page with all steps open, its requests to other hosts)."""
    opened = visit(browser.new_page(viewport={"width": width, "height": HEIGHT}), address)
    unfold(opened[0])
    return opened


def visit(page, address: str):
    """`open_page` with a page that exists; the pages of one context are one visitor's."""
    page.set_default_timeout(MILLISECONDS_OF_PATIENCE)
    foreign = foreign_requests_of(page, address)
    page.goto(address)
    button(page, "Show images").wait_for()
    page.wait_for_function(KNOWN)
    return page, foreign


def foreign_requests_of(page, address: str) -> list[str]:
    """Requests to other hosts; the list grows."""
    host, foreign = address.partition("/?")[0], []

    def note(request):
        if not request.url.startswith((host, "data:", "blob:")):
            foreign.append(request.url)

    page.on("request", note)
    return foreign


class Held:
    """Holds back the requests of a page's events."""

    def __init__(self, page):
        self._page, self._waiting, self._taken, self._holds = page, [], 0, True
        page.route("**/queue/join*", self._take)

    def pass_on(self) -> None:
        """Let those through that wait now; later ones are held."""
        while self._waiting:
            self._waiting.pop().continue_()
        self._page.wait_for_timeout(MILLISECONDS_TO_ANSWER)

    def let_go(self) -> None:
        """Let through all that wait and all that follow, until no more come for a while."""
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


def console_errors_of(page) -> list[str]:
    """Errors of scripts and in the console; the list grows."""
    errors = []
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: errors.append(error.stack or str(error)))
    return errors


def fits(page) -> bool:
    """Nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def serious_findings(record_property):
    """Returns a function: the serious or critical findings of axe-core on a page, in each theme."""
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
    """It `fits` a desktop and a phone; the window gets its width back."""
    width = page.viewport_size["width"]
    fitting = [fits(resized(page, each)) for each in (DESKTOP, PHONE)]
    resized(page, width)
    return all(fitting)


def button(page, name: str):
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name: str) -> None:
    """Open the tab of exactly this name."""
    page.get_by_role("tab", name=name, exact=True).click()


def dataset_shown(page, figures: str):
    """The figures of the chosen dataset, where its images are shown."""
    return page.locator("#step-data").get_by_text(figures, exact=True)


def unfold(page) -> None:
    """Open all steps, where only one is open: on a phone."""
    page.evaluate(
        "document.querySelectorAll('.step').forEach(each => each.classList.remove('folded'))"
    )


def run_field(page, part: str):
    """The field Run of a part of the page."""
    return page.locator(part).get_by_label("Run", exact=True)


def action(page, name: str, run: str):
    """The button of this name in the row of the newest run whose name begins so."""
    return page.get_by_role("button", name=re.compile(f"^{name} {run}")).first


def choose_run(page, name: str, part: str = TRY) -> None:
    """The newest run whose name begins so."""
    run_field(page, part).click()
    page.get_by_role("option", name=re.compile(f"^.?{name}")).first.click()
