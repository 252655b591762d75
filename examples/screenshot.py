"""Take the README's pictures: each part of the page, with a training on digits in it.

    python -m examples.screenshot docs/images

Starts the app in a process of its own, offline, with nothing of this user's: no runs, no sign-in.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageChops, ImageOps
from playwright.sync_api import Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MARGIN, GAP, LINE = 24, 24, (203, 213, 225)
COLOURS = 256
SECONDS_TO_START, SECONDS_TO_LEARN, SECONDS_TO_SETTLE = 60, 600, 1.5
FIRST_EPOCHS = 6
FOUR = ((10, -95), (-65, 25), (70, 25), (25, -30), (25, 100))
BUSY = ".progress-text, .meta-text"  # what gradio shows over what is being made anew


def main(
    out: Annotated[Path, typer.Argument(help="The folder for the pictures.")],
    images_a_class: Annotated[int, typer.Option(help="To train on; fewer are quicker.")] = 60,
) -> None:
    expect.set_options(timeout=SECONDS_TO_START * 1000)
    out.mkdir(parents=True, exist_ok=True)
    with app() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(SECONDS_TO_START * 1000)
        page.goto(address)
        album = Album(page, out)
        data(album)
        train(album, images_a_class)
        try_it(album)
        publish(album)
        album.keep("phone", side_by_side(album.phones))


class Album:
    """Pictures of one page: those of a desktop go into `out`, those of a phone are collected."""

    def __init__(self, page: Page, out: Path):
        self.page = page
        self.out = out
        self.phones: list[Image.Image] = []

    def desktop(
        self,
        name: str,
        *,
        since: Locator | None = None,
        until: Locator | None = None,
        seconds_to_settle: float = SECONDS_TO_SETTLE,
    ) -> None:
        """The page from the top of one element to the bottom of another, without empty edges."""
        time.sleep(seconds_to_settle)
        self.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        picture = self._seen(full_page=True)
        top = since.bounding_box()["y"] if since else 0
        box = until.bounding_box() if until else {"y": 0, "height": picture.height}
        bottom = min(box["y"] + box["height"], picture.height)
        self.keep(name, trimmed(picture.crop((0, round(top), picture.width, round(bottom)))))

    def part(self, name: str, part: Locator) -> None:
        """One part of the page."""
        time.sleep(SECONDS_TO_SETTLE)
        shown = Image.open(BytesIO(part.screenshot())).convert("RGB")
        self.keep(name, trimmed(shown))

    def phone(self, top: Locator) -> None:
        """One screen, from `top` on."""
        self.page.set_viewport_size(PHONE)
        time.sleep(SECONDS_TO_SETTLE)
        top.evaluate(
            "element => element.closest('.folded')?.querySelector('.title button').click()"
        )
        top.evaluate("element => scrollTo(0, element.getBoundingClientRect().top + scrollY - 16)")
        time.sleep(SECONDS_TO_SETTLE)
        self.phones.append(ImageOps.expand(self._seen(), 1, LINE))
        self.page.set_viewport_size(DESKTOP)

    def keep(self, name: str, picture: Image.Image) -> None:
        """In few colours, which is a third of the bytes."""
        path = self.out / f"{name}.png"
        picture.quantize(COLOURS, kmeans=1).save(path, optimize=True)
        size = path.stat().st_size / 1e3
        print(f"{path}: {picture.width} x {picture.height}, {size:.0f} kB")

    def _seen(self, **how) -> Image.Image:
        return Image.open(BytesIO(self.page.screenshot(**how))).convert("RGB")


@contextmanager
def app() -> Iterator[str]:
    """The address of the app, which ends with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        own = {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": f"{folder}/hub",
            "GRADIO_TEMP_DIR": f"{folder}/gradio",
            "TRANSFER_CACHE": f"{folder}/cache",
        }
        others = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
        command = [sys.executable, "app.py", "--port", str(port), "--runs", f"{folder}/runs"]
        process = subprocess.Popen(command, cwd=ROOT, env=others | own)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, process)
            yield address
        finally:
            process.terminate()
            process.wait()


def wait_for(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5)
            return
        time.sleep(0.2)
    sys.exit("error: expected the app to start, found that it did not; see what it says by hand")


def data(album: Album) -> None:
    """The page as it opens, and an example that was clicked."""
    page = album.page
    page.locator(".card").get_by_text("10 classes, 1,797 images").wait_for()
    page.get_by_role("radio", name=re.compile("^Balanced, about")).wait_for()
    page.get_by_role("button", name="a temple").click()
    page.locator(".answer").wait_for()
    album.desktop("steps", until=page.locator(".three"))
    album.phone(page.locator(".introduction").first)


def train(album: Album, images_a_class: int) -> None:
    """The second phase under way, and the report once it is done."""
    page = album.page
    advanced = page.get_by_role("button", name="Advanced settings")
    advanced.click()
    choose(page, "Body", re.compile("^bundled"))
    page.get_by_role("textbox", name="Images per class").fill(str(images_a_class))
    advanced.click()
    page.get_by_role("radio", name=re.compile("^Balanced, about")).wait_for()
    page.get_by_role("button", name="Start training", exact=True).click()
    wait_to_learn(page, f"fine-tune epoch {FIRST_EPOCHS}")
    top, end = page.locator(".three"), page.locator(".charts")
    album.desktop("train", since=top, until=end, seconds_to_settle=0)
    wait_to_learn(page, "of the test images are right")
    report = page.locator(".report")
    album.desktop("report", since=report.first, until=report.last)
    album.phone(page.locator("#step-train"))


def wait_to_learn(page: Page, text: str) -> None:
    page.get_by_text(text).first.wait_for(timeout=SECONDS_TO_LEARN * 1000)


def try_it(album: Album) -> None:
    """A four that is drawn by hand, and where the network looked."""
    page = album.page
    step = page.locator("#step-try")
    run = step.get_by_role("combobox", name="Run", exact=True)
    expect(run).to_have_value(re.compile("^digits"))  # the page has chosen the newest one itself
    choose(step, "Run", re.compile("handwritten digits$"))
    expect(run).to_have_value(re.compile("handwritten digits$"))
    draw(page, FOUR)
    page.locator(".answer .verdict").wait_for()
    page.get_by_role("radio", name="Where the model looked", exact=True).check()
    page.get_by_text("no evidence").wait_for()
    time.sleep(SECONDS_TO_SETTLE)
    expect(page.locator(".shown").locator(BUSY)).to_have_count(0)
    album.part("try", step)
    album.phone(page.locator("#step-try input[type=radio]").first)


def draw(page: Page, line: tuple[tuple[int, int], ...]) -> None:
    """One stroke on the canvas; pixels from its middle."""
    canvas = page.locator(".drawing canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    middle_x, middle_y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    places = [(middle_x + x, middle_y + y) for x, y in line]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    time.sleep(SECONDS_TO_SETTLE)


def publish(album: Album) -> None:
    """What would be sent of the run."""
    page = album.page
    page.get_by_role("tab", name="Publish", exact=True).click()
    heading = page.get_by_text("What will be published: about")
    heading.wait_for()
    album.part("publish", page.locator("#publish"))
    album.phone(heading)


def choose(page: Page | Locator, label: str, option: re.Pattern) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option).click()


def trimmed(picture: Image.Image) -> Image.Image:
    """Without empty edges but for a margin, and framed, for pages may be white as well."""
    background = picture.getpixel((0, 0))
    empty = Image.new("RGB", picture.size, background)
    inner = picture.crop(ImageChops.difference(picture, empty).getbbox())
    return ImageOps.expand(ImageOps.expand(inner, MARGIN, background), 1, LINE)


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet


if __name__ == "__main__":
    typer.run(main)
