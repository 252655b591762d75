"""The Data tab in a real browser: a source is shown, classes are made photo by photo."""

import os
import shutil
import time
import zipfile

import pytest
from PIL import Image

from tests.browser.conftest import (
    PHONE,
    PUBLISH,
    button,
    dataset_shown,
    fits_everywhere,
    open_page,
    run_field,
    tab,
    unfold,
)
from tests.browser.slow_app import let_go
from tests.hub_server import FRIEND
from tests.hub_writing import writable
from tests.tiny import draw_classes

SECONDS_TO_COME = 2
CHOSEN_RUN = "#step-try input[aria-label=Run]"
FOCUSED = """label => [document.activeElement.ariaLabel, document.activeElement.textContent]
    .includes(label)"""


def test_a_source_is_shown_and_the_page_fits(browser, page_address):
    page, foreign = open_page(browser, page_address)
    button(page, "Show images").click()
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    for name in ("Publish", "Training and runs"):
        tab(page, name)
        assert fits_everywhere(page)
    assert foreign == []
    page.close()


def test_two_classes_answer_as_soon_as_they_have_photos(browser, page_address, tmp_path):
    red, blue = (plain(tmp_path / colour, colour) for colour in ("red", "blue"))
    page, foreign = open_page(browser, page_address, PHONE)
    page.get_by_role("radio", name="Your own photos").check()
    for name, photos in (("Class 1", red[:5]), ("Class 2", blue)):
        photos_of(page, name).set_input_files(photos)
        card(page, name).get_by_text("photos", exact=False).first.wait_for()
    answer = page.locator("#step-try .answer").filter(has_text="Trying now: your last photo")
    best = answer.locator(".best .name")
    best.get_by_text("Class 2").wait_for()  # one choice and two drops
    photos_of(page, "Class 1").set_input_files(red[5])
    best.get_by_text("Class 1").wait_for()
    page.locator("#classes .now", has_text="Trying now: ").wait_for()
    assert page.locator(CHOSEN_RUN).input_value() == "Your classes, as you teach them"
    page.reload()
    best.get_by_text("Class 1").wait_for(state="attached")
    unfold(page)
    page.locator("#try-photos input[type=file]").set_input_files(red[0])
    answer = page.locator("#step-try .answer").filter(has_text=red[0].name)
    answer.locator(".best .name").get_by_text("Class 1").wait_for()
    page.get_by_label("Wrong? Choose what it shows").click()
    page.get_by_role("option", name="Class 2").click()
    button(page, "Correct it").click()
    card(page, "Class 2").get_by_text("7 photos").wait_for()
    assert foreign == []
    page.close()


def plain(folder, colour: str) -> list:
    """Six photos of about one colour."""
    folder.mkdir()
    paths = [folder / f"{colour}-{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        image = Image.new("RGB", (64, 64), colour)
        image.putpixel((number, number), (255, 255, 255))
        image.save(path)
    return paths


def test_own_classes_are_changed_with_the_keyboard_saved_and_published(
    browser, page_address, tmp_path, hub
):
    page, foreign = open_page(browser, page_address, PHONE)
    make_classes(page, draw_classes(tmp_path, each=6, classes=("cat", "dog", "eel")))
    assert fits_everywhere(page)
    for press, focus in (
        ("Remove photo 6 of dog", "Remove photo 5 of dog"),
        ("Remove the class cat", "Undo"),
        ("Undo", "Add class"),
        ("Add class", "Name of the class"),
    ):
        page.get_by_role("button", name=press).last.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(FOCUSED, arg=focus)
    page.keyboard.type("a/b")  # over the name that the new class has got
    page.keyboard.press("Enter")
    page.get_by_text("Choose another. Expected a class name").wait_for()
    assert card(page, "Class 4").get_by_role("textbox").input_value() == "a/b"
    card(page, "cat").get_by_text("6 photos").wait_for()
    with page.expect_download() as fetched:
        button(page, "Save as zip").click()
    with zipfile.ZipFile(fetched.value.path()) as saved:
        assert len(saved.namelist()) == 17
    page.get_by_role("button", name="Remove the class Class 4").click()
    with writable(hub):
        publish_photos(page)
        published = hub.repositories["datasets", "me/my-pets"]
    assert not published.private and "train/dog/00005.jpg" in published.files
    assert fits_everywhere(page)
    assert foreign == []
    page.close()


def test_a_refused_file_leaves_the_field_usable(browser, page_address, tmp_path):
    page, _ = open_page(browser, page_address)
    page.get_by_role("button", name="Upload a zip").click()
    page.get_by_text("type its path under Dataset").wait_for()
    (tmp_path / "pets.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "large.zip").touch()
    os.truncate(tmp_path / "large.zip", 60_000_000)
    for name, why in (("pets.tar.gz", "Invalid file type"), ("large.zip", "exceed the maximum")):
        page.locator("input[type=file][accept*='.zip']").set_input_files(tmp_path / name)
        page.get_by_text(why).wait_for()
        page.wait_for_timeout(500)
        assert page.get_by_text("type its path under Dataset").is_visible()
        assert not page.locator('[data-testid="status-tracker"] > .error').is_visible()
    draw_classes(tmp_path / "pets", each=6, classes=("cat", "dog"))
    pets = shutil.make_archive(str(tmp_path / "good"), "zip", tmp_path / "pets")
    page.locator("input[type=file][accept*='.zip']").set_input_files(pets)
    dataset_shown(page, "2 classes, 12 images").wait_for()
    page.close()


@pytest.mark.full
def test_late_answers_about_another_dataset_are_dropped(browser, slow_address, tmp_path):
    slow = draw_classes(tmp_path / "slow", each=6, classes=("cat", "dog"))
    page, _ = open_page(browser, slow_address)
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    for press, said in (
        ("Show images", "10 classes, 1,797 images"),
        ("Check for problems", "All 1,797 images can be read"),
    ):
        choose(page, str(slow))
        page.get_by_text(said, exact=True).wait_for(state="detached")
        button(page, press).click()
        time.sleep(0.5)
        choose(page, "digits")
        button(page, press).click()
        page.get_by_text(said, exact=True).wait_for()
        let_go(slow).touch()
        time.sleep(SECONDS_TO_COME)
        assert page.get_by_text(said, exact=True).is_visible()
        assert dataset_shown(page, "12 images").count() == 0
        let_go(slow).unlink()
    page.close()


def test_the_dataset_list_closes_when_the_keyboard_leaves_it(browser, page_address):
    page, _ = open_page(browser, page_address, PHONE)
    offered = page.get_by_role("option").locator("visible=true")
    for keys in (("Tab",), ("Escape", "Tab")):
        page.get_by_label("Dataset").first.click()
        offered.first.wait_for()
        for key in keys:
            page.keyboard.press(key)
        offered.first.wait_for(state="hidden")
    button(page, "Show images").click()
    page.close()


def test_the_chosen_upload_survives_a_reload_and_can_be_removed(browser, page_address, tmp_path):
    drawn = draw_classes(tmp_path / "drawn", each=6, classes=("cat", "dog"))
    shutil.make_archive(str(tmp_path / "pets"), "zip", drawn)
    page, _ = open_page(browser, page_address)
    page.get_by_role("button", name="Upload a zip").click()
    page.locator("input[type=file][accept*='.zip']").first.set_input_files(tmp_path / "pets.zip")
    dataset_shown(page, "2 classes, 12 images").wait_for()
    page.reload()
    dataset_shown(page, "2 classes, 12 images").wait_for()
    page.get_by_role("button", name="Upload a zip").click()
    button(page, "Remove the chosen upload").click()
    dataset_shown(page, "10 classes, 1,797 images").wait_for()
    page.get_by_label("Dataset").first.click()
    assert page.get_by_role("option", name="your upload").count() == 0
    page.close()


def choose(page, source: str) -> None:
    """Types a source under Dataset."""
    box = page.get_by_label("Dataset").first
    box.fill(source)
    box.press("Enter")
    box.press("Tab")


def publish_photos(page) -> None:
    """For everybody, which takes a second tick."""
    tab(page, "Publish")
    run_field(page, PUBLISH).click()
    page.get_by_role("option", name="Your own photos: 17 photos in 3 classes").click()
    page.get_by_text("Only you, or the members of your organization").wait_for()
    page.get_by_label("Repository").fill("me/my-pets")
    page.get_by_label("Private").uncheck()
    page.get_by_text("Everybody can see and copy them").wait_for()
    page.get_by_label("Token").fill(FRIEND)
    button(page, "Publish").click()
    page.get_by_text("Expected your consent").wait_for()
    page.get_by_label("Everybody may see these photos").check()
    page.get_by_label("Token").fill(FRIEND)
    button(page, "Publish").click()
    page.get_by_role("link", name="me/my-pets", exact=True).wait_for()


def card(page, name: str):
    return page.locator(f"#classes [data-name='{name}']")


def photos_of(page, name: str):
    """The field for the photos of a class."""
    return card(page, name).locator("input[type=file]")


def make_classes(page, drawn) -> None:
    """Own classes of the photos in a folder of class folders of six each, as the source."""
    page.get_by_role("radio", name="Your own photos").check()
    names = sorted(path.name for path in drawn.iterdir() if path.is_dir())
    for number, name in enumerate(names, start=1):
        if number > 2:
            button(page, "Add class").click()
        card(page, f"Class {number}").get_by_role("textbox").fill(name)
        page.keyboard.press("Enter")
        photos_of(page, name).set_input_files(sorted((drawn / name).iterdir()))
        card(page, name).get_by_text("6 photos").wait_for()
    dataset_shown(page, f"{len(names)} classes, {6 * len(names)} images").wait_for()
