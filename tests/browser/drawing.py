"""A seven, drawn with the mouse on the page's sketchpad."""

import io

import numpy as np
from PIL import Image

from tests.browser.conftest import MOST_STRETCHES, frames

DARK, SHARE_OF_INK = 90, 0.02


def draw_seven(page) -> None:
    """Draws it until it is there, for at first the sketchpad takes no strokes."""
    page.bring_to_front()  # else its frames come once a second
    canvas = page.locator("canvas").last
    canvas.wait_for()
    for _ in range(MOST_STRETCHES):
        page.wait_for_timeout(1_000)
        _stroke(page, canvas)
        page.wait_for_timeout(1_000)
        if has_ink(canvas):
            return
    raise AssertionError("no stroke is drawn")


def has_ink(canvas) -> bool:
    """Whether anything on the sketchpad is black: more than its frame and its signs."""
    with Image.open(io.BytesIO(canvas.screenshot())) as shown:
        middle = shown.convert("L").crop((shown.width // 3, 0, shown.width * 2 // 3, shown.height))
        return np.mean(np.asarray(middle) < DARK) > SHARE_OF_INK


def _stroke(page, canvas) -> None:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a place on the square in the middle, each -1…1."""
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return middle[0] + 110 * x, middle[1] + 110 * y

    page.mouse.move(*at(-0.6, -0.8))
    page.mouse.down()
    page.mouse.move(*at(0.6, -0.8), steps=12)
    page.mouse.move(*at(-0.2, 0.9), steps=20)
    page.mouse.up()
    frames(page)
