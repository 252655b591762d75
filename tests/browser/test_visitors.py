"""Two people on a shared server: they wait for each other, and see nothing of each other."""

import re

from tests.browser.conftest import (
    PHONE,
    QUICK,
    TRY,
    app_up,
    button,
    fits,
    run_field,
    unfold,
    visit,
)
from tests.browser.test_data import make_classes
from tests.browser.test_reattach import later_epoch
from tests.tiny import draw_classes
from transfer.jobs import JobLimits


def start(page) -> None:
    button(page, "Start training").click()


def stop(page) -> None:
    button(page, "Stop and save the result").click()
    page.get_by_text("Stopped before anything was learned").wait_for()


def status(page) -> str:
    return page.locator(".status").first.inner_text()


def test_a_second_visitor_waits_and_controls_only_their_own_training(visitors, shared_address):
    first, _ = visit(visitors().new_page(), shared_address)
    start(first)
    epoch = later_epoch(first, 0)
    second, _ = visit(visitors(PHONE).new_page(), shared_address)
    unfold(second)
    assert "No training yet" in status(second)
    assert button(second, "Stop and save the result").is_disabled()
    start(second)
    second.get_by_text("Queued: 1 before yours").wait_for()
    assert re.search(r"Starts in about \d+ min", status(second))
    assert second.locator(".charts svg").count() == 0
    assert fits(second)
    stop(second)
    first.reload()
    first.locator(".status").first.wait_for()  # the page goes to a running training by itself
    later_epoch(first, epoch)
    stop(first)


def test_a_second_training_of_the_same_visitor_is_refused(visitors, shared_address):
    visitor = visitors()
    early, _ = visit(visitor.new_page(), shared_address)
    page, _ = visit(visitor.new_page(), shared_address)
    start(page)
    later_epoch(page, 0)
    start(early)
    early.get_by_text("your last training is still running").wait_for()
    stop(page)


def test_a_shared_server_names_its_limits(visitors, shared_address):
    page, foreign = visit(visitors().new_page(), shared_address)
    for line in JobLimits.shared().described():
        page.get_by_text(line).wait_for()
    assert fits(page)
    assert foreign == []


def test_ones_own_server_has_no_limits(visitors, page_address):
    page, _ = visit(visitors().new_page(), page_address)
    assert page.get_by_text(JobLimits.shared().described()[0]).count() == 0


def test_own_photos_become_a_run_that_nobody_else_sees(visitors, run, tmp_path):
    drawn = draw_classes(tmp_path / "photos", each=6, classes=("quagga", "okapi"))
    paths = (tmp_path / name for name in ("runs", "log.txt", "gradio"))
    finishes = {"QUICK_RUN": str(run.path)}  # each training ends and leaves a copy of it
    with app_up(*paths, program=QUICK, SYSTEM="spaces", **finishes) as address:
        page, foreign = visit(visitors().new_page(), address)
        make_classes(page, drawn)
        page.get_by_role("radio", name=re.compile("^Quick")).check()
        button(page, "Start training").click()
        page.get_by_text("test images are right").first.wait_for()
        page.locator("ul.runs").get_by_text("your own photos").first.wait_for()
        page.locator("ul.runs").get_by_text("removed ").wait_for()
        other, _ = visit(visitors().new_page(), address)
        other.get_by_text("No finished runs yet").wait_for()
        run_field(other, TRY).click()
        other.get_by_role("option").first.wait_for()
        found = other.get_by_role("option").all_inner_texts()
        assert len(found) == 2 and all("Example: " in name for name in found)
        assert "quagga" not in other.content()
    assert foreign == []
