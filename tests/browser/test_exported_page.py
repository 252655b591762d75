"""The page that `export --format page` writes, served from a sub-path, in a real browser."""

import contextlib
import functools
import json
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import transfer
from tests.browser.conftest import DESKTOP, FLAGS, HEIGHT, PHONE, foreign_requests_of
from tests.hub_server import FRIEND
from tests.hub_writing import writable
from tests.tiny import TINY
from transfer.cache.paths import cache_folder
from transfer.publishing import publish
from transfer.publishing.export import export
from transfer.publishing.onnx import page as exported
from transfer.publishing.onnx.page import WEB
from transfer.publishing.onnx.runtime import KNOWN, NAME, find_runtime

RUNTIME = cache_folder() / "onnxruntime-web"  # of this machine's user, not of a test
SUB_PATH = "/some/where"
TOLERANCE = 1e-2
ROTATED = 6  # EXIF: turn it clockwise


def sample_photos() -> list[Image.Image]:
    """scikit-learn's two, 640 x 427: a flower, a temple in China."""
    return [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("flower", "china")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> transfer.Run:
    """Tells parts of the two photos from each other."""
    folder = tmp_path_factory.mktemp("page")
    for photo, name in zip(sample_photos(), ("flower", "temple"), strict=True):
        (folder / "photos" / name).mkdir(parents=True)
        for x in range(0, 400, 40):
            for y in range(0, 240, 60):
                part = photo.crop((x, y, x + 240, y + 180))
                part.save(folder / "photos" / name / f"{x}-{y}.png")
    return transfer.train(folder / "photos", out=folder / "run", **TINY | {"image_size": 64})


@contextlib.contextmanager
def served(folder: Path):
    """The address of a host that knows nothing of the page, under a path."""

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
def address(run, tmp_path_factory):
    if not all((RUNTIME / name).is_file() for name in KNOWN):
        pytest.skip(f"needs {NAME}, which the first `export --format page` downloads")
    out = tmp_path_factory.mktemp("exported") / "out"
    with served(export(run, out, "page", precision="fp32", runtime=RUNTIME)) as address:
        yield address


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Files of many kinds, all of which the app reads too."""
    folder = tmp_path_factory.mktemp("photos")
    flower, china = sample_photos()
    for number, photo in enumerate((flower, china)):
        photo.save(folder / f"whole-{number}.jpg", quality=90)
        photo.crop((40, 30, 361, 280)).save(folder / f"part-{number}.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = ROTATED
    china.crop((0, 0, 640, 424)).save(folder / "turned.jpg", exif=turned)
    see_through = flower.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(flower.size))
    see_through.save(folder / "see-through.png")
    china.convert("L").save(folder / "grey.png")
    flower.save(folder / "photo.webp", quality=90)
    china.resize((5000, 4000)).save(folder / "huge.jpg", quality=90)
    flower.resize((2100, 1700)).save(folder / "large.png")
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
    assert len(found[photos[1].name][0]) == 2


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


def test_opened_from_disk_it_says_what_to_do(browser):
    page = browser.new_page()
    page.goto((WEB / "index.html").as_uri())
    page.get_by_text("Browsers do not let a page from disk load its model").wait_for()
    page.close()


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


def test_a_published_space_works_from_the_files_that_the_hub_holds(
    browser, address, run, hub, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(exported, "find_runtime", lambda *_: find_runtime(RUNTIME))
    with writable(hub):
        publish(run, "me/stripes", what="page", token=FRIEND)
        files = hub.repositories["spaces", "me/stripes"].files
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with served(tmp_path) as space:
        page = browser.new_page()
        page.goto(space)
        page.locator("#input").wait_for()
        assert page.title() == "stripes"
        scores, _ = answers(page, photos[:1])[photos[0].name]
        assert np.abs(np.array(scores) - transfer.load(run).scores(photos[0])).max() <= TOLERANCE
        page.close()
