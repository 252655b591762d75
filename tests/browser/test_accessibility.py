"""Each tab as assistive technology finds it, by axe-core."""

import pytest

from tests.browser.conftest import DESKTOP, PHONE, button, open_page, tab

TABS = ("Data", "Train", "Try it", "Publish")
GRAVE = ("serious", "critical")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_tab_has_a_serious_finding(browser, page_address, width, theme, record_property):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, _ = open_page(browser, f"{page_address}/?__theme={theme}", width)
    button(page, "Show images").click()
    page.get_by_text("10 classes, 1,797 images").wait_for()
    grave = []
    for name in TABS:
        tab(page, name)
        page.wait_for_timeout(500)  # colours fade in
        for found in axe.run(page).response["violations"]:
            places = [node["html"][:120] for node in found["nodes"]]
            record_property(f"{name}: {found['impact']} {found['id']}", places)
            if found["impact"] in GRAVE:
                grave.append((name, found["id"], places))
    assert grave == []
    page.close()
