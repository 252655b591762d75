"""Take the README's picture: the page while the second phase of a training on digits runs.

python app.py --port 7860 --runs /tmp/runs &
python -m examples.screenshot http://127.0.0.1:7860 .github/page.png
"""

from pathlib import Path
from typing import Annotated

import typer

CHROMIUM = "/usr/bin/chromium"
SECONDS_TO_PHASE_2 = 240


def main(
    address: str,
    picture: Path,
    width: Annotated[int, typer.Option(help="Pixels; 390 for a phone.")] = 1280,
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(address)
        page.get_by_role("tab", name="Train", exact=True).click()
        page.get_by_role("button", name="Start training", exact=True).click()
        page.get_by_text("fine-tune epoch 5").wait_for(timeout=SECONDS_TO_PHASE_2 * 1000)
        page.screenshot(path=picture, full_page=True)


if __name__ == "__main__":
    typer.run(main)
