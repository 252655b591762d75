"""The Data tab in a real browser: a source is shown, classes are made photo by photo."""

from tests.browser.conftest import PHONE, button, fits_everywhere, open_page, tab
from tests.tiny import draw_classes


def test_a_source_is_shown_and_the_page_fits(browser, page_address):
    page, strangers = open_page(browser, page_address)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    for name in ("Data", "Train", "Try it", "Publish"):
        tab(page, name)
        assert fits_everywhere(page)
    assert strangers == []
    page.close()


def test_own_classes_are_made_photo_by_photo(browser, page_address, tmp_path):
    page, strangers = open_page(browser, page_address, PHONE)
    make_classes(page, draw_classes(tmp_path, each=6, classes=("cat", "dog")))
    assert fits_everywhere(page)
    page.reload()
    page.get_by_role("button", name="Make your own classes").click()
    page.get_by_text("dog: 6 photos").wait_for()
    assert fits_everywhere(page)
    assert strangers == []
    page.close()


def make_classes(page, drawn) -> None:
    """Own classes of the photos in a folder of class folders of six each, as the source."""
    page.get_by_role("button", name="Make your own classes").click()
    names = sorted(path.name for path in drawn.iterdir() if path.is_dir())
    for name in names:
        page.get_by_label("New class").fill(name)
        button(page, "Add class").click()
        page.get_by_text(f"{name}: 0 photos, 5 more needed").wait_for()
        chooser = page.locator("input[type=file][accept*='image']").first
        chooser.set_input_files(sorted((drawn / name).iterdir()))
        page.get_by_text(f"{name}: 6 photos").wait_for()
    button(page, "Use these photos").click()
    page.get_by_text(f"{len(names)} classes, {6 * len(names)} images").wait_for()
