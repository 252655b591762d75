"""Signing in on a Space as a visitor does it: the button, the provider's page, and back."""

import re
import time

import pytest

from tests.browser.conftest import QUICK, app_up, button, tab, visit
from tests.browser.openid import provider
from tests.browser.test_publish import stored_in_browser
from tests.hub_writing import ME, OAUTH, writable
from transfer.ui.shared.loaded_runs import EXAMPLES_FOLDER
from transfer.ui.shared.sign_in import BACK_TO_PUBLISH, LEAVING

SIGN_IN, SIGN_OUT = "Sign in with Hugging Face", f"Sign out ({ME})"
BARE = "vgg16-digits"
ID = f"{ME}/{BARE}"
NOT_SIGNED_IN = "Not signed in. Sign in to publish under your own name."
REFUSED = "You are not signed in, or your sign-in has expired. Sign in, then press Publish again."
# gradio's own, of a Space that is not looked at inside the Hub's page
BADGE = ("https://fonts.googleapis.com/", "https://huggingface.co/api/spaces/")
OF_THE_RUN = "The images are public"
HAS_NAME = """name => [...document.querySelectorAll("textarea, input")].some(
    each => each.value === name)"""


@pytest.fixture(scope="module")
def accounts():
    with provider(ME, OAUTH) as accounts:
        yield accounts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All that the app of `space` writes: its runs, what it says, and gradio's files."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def space(folder, accounts):
    """The address of an app on what looks like a Space; its trainings leave the example behind."""
    environment = {
        "SYSTEM": "spaces",
        "SPACE_ID": "me/space",
        "QUICK_RUN": str(EXAMPLES_FOLDER / "digits"),
    }
    paths = (folder / name for name in ("runs", "log.txt", "gradio"))
    with app_up(*paths, program=QUICK, **environment, **accounts.environment) as address:
        yield address
    print((folder / "log.txt").read_text(errors="replace"))


@pytest.fixture
def visitor(browser, space):
    """(page of a new visitor, the Publish tab; requests to other hosts)."""
    context = browser.new_context()
    context.route(re.compile("^https:"), lambda route: route.abort())
    page, foreign = visit(context.new_page(), space)
    tab(page, "Publish")
    page.get_by_text(NOT_SIGNED_IN).wait_for()
    yield page, foreign
    context.close()


def train(page) -> None:
    """A run of the visitor's own, chosen to be published."""
    button(page, "Start training").click()
    tab(page, "Training and runs")
    page.locator("ul.runs li").wait_for()
    tab(page, "Publish")
    page.get_by_text(OF_THE_RUN).wait_for()


def sign_in(page, answer: str = "Authorize") -> None:
    """There, and back to the tab where the button is."""
    button(page, SIGN_IN).click()
    page.get_by_role("link", name=answer, exact=True).click()
    button(page, "Publish").wait_for()


def asked_to_publish(hub) -> list[str]:
    """Requests of a publish; the page itself asks for a body's size."""
    return [asked for asked in hub.requests if "whoami" in asked or asked.startswith("POST")]


def test_a_visitor_signs_in_publishes_his_run_and_signs_out(visitor, accounts, folder, hub):
    page, foreign = visitor
    posted = []
    page.on("request", lambda request: posted.append(request.post_data or ""))
    train(page)
    assert page.get_by_label("Repository").input_value() == BARE
    with writable(hub):
        button(page, "Publish").click()
        page.get_by_text(REFUSED).wait_for()
        assert asked_to_publish(hub) == []
        sign_in(page)
        page.get_by_text(f"Signed in to the Hub as {ME}.").wait_for()
        page.wait_for_function(HAS_NAME, arg=ID)
        button(page, "Publish").click()
        page.get_by_role("link", name=ID, exact=True).wait_for()
        repository = hub.repositories["models", ID]
        assert repository.private and {"run.json", "README.md"} <= set(repository.files)
        seen = stored_in_browser(page)
        button(page, SIGN_OUT).click()
        page.get_by_text(NOT_SIGNED_IN).wait_for()
        assert page.get_by_text(f"Signed in to the Hub as {ME}.").count() == 0
        button(page, SIGN_IN).wait_for()
        assert asked_to_publish(hub)
        hub.requests.clear()
        button(page, "Publish").click()
        page.get_by_text(REFUSED).wait_for()
        assert asked_to_publish(hub) == []
    elsewhere = {url.partition("?")[0] for url in foreign if not url.startswith(BADGE)}
    assert elsewhere == {f"{accounts.url}/oauth/authorize"}
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5 and not any(OAUTH.encode() in data for data in files)
    assert OAUTH not in seen + stored_in_browser(page) + "".join(posted)


def test_an_expired_sign_in_is_explained(visitor, accounts, hub, monkeypatch):
    page, _ = visitor
    sign_in(page)
    page.get_by_text(f"Signed in to the Hub as {ME}.").wait_for()
    monkeypatch.setattr(accounts, "seconds", 1)
    brief = page.context.new_page()
    brief.goto(f"{page.url}login/huggingface")
    brief.get_by_role("link", name="Authorize", exact=True).click()
    brief.wait_for_url(page.url, wait_until="commit")
    brief.close()
    time.sleep(1.1)
    button(page, "Publish").click()
    page.get_by_text(REFUSED).wait_for()
    page.get_by_text(NOT_SIGNED_IN).wait_for()
    button(page, SIGN_IN).wait_for()
    assert asked_to_publish(hub) == []


def test_a_refused_consent_changes_nothing(visitor):
    page, _ = visitor
    sign_in(page, "Cancel")
    page.get_by_text(NOT_SIGNED_IN).wait_for()
    assert button(page, SIGN_IN).is_visible()


def test_a_page_that_still_opens_leaves_the_way_back_to_the_next(browser, space):
    page = browser.new_page()
    page.goto(f"{space}/manifest.json")  # same origin, and no page that looks for the way back
    page.evaluate(LEAVING)
    assert "selected" not in page.evaluate(BACK_TO_PUBLISH)
    page.reload()
    assert page.evaluate(BACK_TO_PUBLISH)["selected"] == "publish"
    page.reload()
    assert "selected" not in page.evaluate(BACK_TO_PUBLISH)
    page.close()
