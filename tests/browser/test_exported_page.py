"""The page that `export --format page` writes, served from a sub-path, in a real browser."""

import functools
import json
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

import transfer
from tests.browser.conftest import DESKTOP, FLAGS, HEIGHT, PHONE, foreign_requests_of
from tests.publishing.runs import finished
from tests.tiny import picture
from transfer.cache.paths import cache_folder
from transfer.publishing.export import export
from transfer.publishing.onnx.runtime import KNOWN, NAME

RUNTIME = cache_folder() / "onnxruntime-web"  # of this machine's user, not of a test
SUB_PATH = "/some/where"
TOLERANCE = 1e-2
ROTATED = 6  # EXIF: turn it clockwise


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> transfer.Run:
    return finished(tmp_path_factory.mktemp("page") / "stripes")


@pytest.fixture(scope="module")
def address(run, tmp_path_factory):
    if not all((RUNTIME / name).is_file() for name in KNOWN):
        pytest.skip(f"needs {NAME}, which the first `export --format page` downloads")
    out = tmp_path_factory.mktemp("exported") / "out"
    folder = export(run, out, "page", precision="fp32", runtime=RUNTIME)

    class Host(SimpleHTTPRequestHandler):
        def translate_path(self, path):
            return super().translate_path(path.removeprefix(SUB_PATH))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, directory=folder))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{SUB_PATH}/"
    server.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Files of many kinds, all of which the app reads too."""
    folder = tmp_path_factory.mktemp("photos")
    plain = [picture(i % 3, i).resize((300 + 60 * i, 280)) for i in range(5)]
    for i, image in enumerate(plain[:4]):
        image.save(folder / f"plain-{i}.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = ROTATED
    plain[4].save(folder / "turned.jpg", exif=turned)
    see_through = plain[0].convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(see_through.size))
    see_through.save(folder / "see-through.png")
    plain[1].convert("L").save(folder / "grey.png")
    plain[2].save(folder / "photo.webp", quality=90)
    plain[3].resize((5000, 4000)).save(folder / "huge.jpg", quality=90)
    plain[3].resize((2100, 1700)).save(folder / "large.png")
    return sorted(folder.iterdir())


@pytest.fixture
def opened(browser, address):
    """(page, what its console printed, its requests to other hosts)"""
    page = browser.new_page(viewport={"width": DESKTOP, "height": HEIGHT})
    printed = []
    page.on("console", lambda message: printed.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: printed.append(f"error: {error}"))
    foreign = foreign_requests_of(page, address)
    page.goto(address)
    page.locator("#input").wait_for()
    yield page, printed, foreign
    page.close()


def answers(page, files: list) -> dict[str, tuple]:
    """File name → (scores, familiarity, text) of the photos that are chosen."""
    page.locator("#answers").evaluate("list => list.replaceChildren()")
    page.locator("#files").set_input_files(files)
    page.wait_for_function(f"document.querySelectorAll('[data-done]').length === {len(files)}")
    cards = page.locator("article").all()
    found = {}
    for card in cards:
        scores = json.loads(card.get_attribute("data-scores") or "null")
        found[card.locator(".name").inner_text()] = scores, card.inner_text()
    return found


def test_ten_photos_are_classified_as_by_the_run_and_without_a_network(opened, run, photos):
    page, printed, foreign = opened
    page.context.set_offline(True)
    found = answers(page, photos)
    classifier = transfer.load(run)
    assert len(found) == len(photos) == 10
    wanted = {path.name: classifier.scores(path) for path in photos}
    assert np.ptp(list(wanted.values()), axis=0).max() > 0.05, "equal scores would prove nothing"
    for name, scores in wanted.items():
        assert np.abs(np.array(found[name][0]) - scores).max() <= TOLERANCE, name
        assert f"\n{run.classes[scores.argmax()]}\n" in found[name][1]
    assert foreign == [] and [line for line in printed if line.startswith("error")] == []


def test_what_is_no_photo_is_one_line_and_the_next_is_answered(opened, photos, tmp_path):
    page, _, _ = opened
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:200])
    note = tmp_path / "note.txt"
    note.write_text("not a photo")
    found = answers(page, [broken, note, photos[1]])
    assert found["broken.jpg"][0] is found["note.txt"][0] is None
    assert "cannot" not in found["broken.jpg"][1] and "Save it as JPEG" in found["note.txt"][1]
    assert len(found[photos[1].name][0]) == 3


def test_a_changed_model_is_not_run(browser, address):
    page = browser.new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(body=b"another model"))
    page.goto(address)
    page.get_by_text("model.onnx could not be loaded").wait_for()
    assert page.locator("#input").is_hidden()
    page.close()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_is_cut_off_or_hard_to_read(opened, photos, width, serious_findings):
    page, _, _ = opened
    page.set_viewport_size({"width": width, "height": HEIGHT})
    answers(page, photos[:2])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_findings(page, str(width)) == []


def test_the_keyboard_reaches_all_of_it(opened):
    page, _, _ = opened
    reached = []
    for _ in range(2):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["files", "camera"]
    page.keyboard.press("Enter")  # no camera here
    page.get_by_text("Allow the camera").wait_for()


def test_the_camera_answers_live_and_stops(browser, address):
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    chromium = browser.browser_type.launch(
        executable_path="/usr/bin/chromium", args=[*FLAGS, *fake]
    )
    page = chromium.new_page()
    page.goto(address)
    page.locator("#camera").click()
    page.locator("#seen h2").wait_for()
    page.locator("#camera", has_text="Stop the camera").click()
    assert page.locator("#camera").get_attribute("aria-pressed") == "false"
    page.locator("#live").wait_for(state="hidden")
    chromium.close()
