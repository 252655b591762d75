"""Publishing as a person does it: a run, a token, a link; with a Hub on loopback."""

import re
import zipfile

import transfer
from tests.browser.conftest import DESKTOP, PHONE, PUBLISH, button, open_page, run_field, tab, visit
from tests.hub_server import FRIEND
from tests.hub_writing import writable

WRONG = "hf_wrongwrongwrongwrong"
ID = "me/vgg11-stripes"


def publish_tab(browser, address: str, width: int = DESKTOP):
    """(page, requests to other hosts, what was posted)."""
    page, foreign = open_page(browser, address, width)
    posted = []
    page.on("request", lambda request: posted.append(request.post_data or ""))
    tab(page, "Publish")
    run_field(page, PUBLISH).click()
    page.get_by_role("option", name=re.compile("stripes")).click()
    page.get_by_text("No photos and no file names of photos are sent").wait_for()
    return page, foreign, posted


def publish_with(page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    button(page, "Publish").click()


def stored_in_browser(page) -> str:
    """Everything the browser holds of the page."""
    return page.content() + page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    )


def test_a_typed_token_publishes_and_is_stored_nowhere(
    browser, page_address, page_runs, page_log, hub
):
    page, foreign, posted = publish_tab(browser, page_address)
    with writable(hub):
        publish_with(page, WRONG)
        page.get_by_text("The Hub does not know this token").wait_for()
        assert page.get_by_label("Token").input_value() == ""
        publish_with(page, FRIEND)
        link = page.get_by_role("link", name=ID, exact=True)
        link.wait_for()
        assert link.get_attribute("href") == f"{hub.endpoint}/{ID}"
        repository = hub.repositories["models", ID]
        assert repository.private
        assert {"run.json", "report.json", "model.safetensors", "README.md"} <= set(
            repository.files
        )
        page.reload()
        tab(page, "Publish")
        link.wait_for()
    page.get_by_role("button", name="Cancel", exact=True, disabled=True).wait_for()
    page.get_by_role("button", name="Publish", exact=True, disabled=False).wait_for()
    assert sum(WRONG in data or FRIEND in data for data in posted) == 2
    seen = stored_in_browser(page) + page_log.read_text(errors="replace")
    files = [path.read_bytes() for path in page_runs.rglob("*") if path.is_file()]
    for token in (WRONG, FRIEND):
        assert token not in seen and not any(token.encode() in data for data in files)
    assert foreign == []
    page.close()


def test_the_same_files_are_downloaded_without_signing_in(browser, page_address, tmp_path, hub):
    page, _, _ = publish_tab(browser, page_address)
    with page.expect_download(timeout=90_000) as download:
        button(page, "Download as zip").click()
    assert download.value.suggested_filename == "vgg11-stripes.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    assert transfer.load(tmp_path / "vgg11-stripes").classes == ("across", "down", "spots")
    button(page, "Download as zip").wait_for()
    page.close()


def test_a_zip_of_no_run_is_refused_and_the_button_works_again(browser, shared_address):
    context = browser.new_context()
    page, _ = visit(context.new_page(), shared_address)
    tab(page, "Publish")
    button(page, "Download as zip").click()
    page.get_by_text("you have no such finished run").wait_for()
    button(page, "Download as zip").wait_for()
    assert button(page, "Download as zip").is_enabled()
    context.close()


def test_the_tab_fits_a_phone_and_explains_the_full_network(browser, page_address):
    page, _, _ = publish_tab(browser, page_address, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert page.get_by_label("Repository").input_value().startswith("vgg11-")
    page.get_by_role("radio", name="Full network").check()
    page.get_by_text("how timm and transformers build the network").wait_for()
    status = page.get_by_role("status").filter(has_text="Nothing is being published")
    assert status.get_attribute("aria-live") == "polite"
    for label in ("Run", "Repository", "Private", "License", "Token"):
        assert page.get_by_label(label).locator("visible=true").count() >= 1, label
    page.close()
