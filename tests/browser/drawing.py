"""Digits, drawn with the mouse on the page's canvas."""

import math

from tests.browser.conftest import button, frames

FEW, MANY = 1, 6  # pointer events from one point to the next: a quick hand and a slow one


def arc(x: float, y: float, wide: float, high: float, start: int, end: int) -> list:
    """Points around (x, y); degrees, clockwise from the right."""
    angles = (math.radians(start + (end - start) * i / 12) for i in range(13))
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]


# strokes in a square of 1, from the top left; a name begins with its class
DIGITS = {
    "0": [arc(0.5, 0.5, 0.2, 0.35, -90, -450)],
    "1": [[(0.4, 0.32), (0.54, 0.15), (0.52, 0.85)]],
    "2": [[*arc(0.5, 0.33, 0.2, 0.19, -170, 30), (0.3, 0.85), (0.75, 0.85)]],
    "3": [[*arc(0.47, 0.32, 0.22, 0.17, -160, 80), *arc(0.47, 0.66, 0.25, 0.19, -80, 160)]],
    "4": [[(0.55, 0.15), (0.27, 0.6), (0.75, 0.6)], [(0.6, 0.36), (0.58, 0.85)]],
    "5": [[(0.72, 0.15), (0.36, 0.15), (0.33, 0.44), *arc(0.46, 0.64, 0.23, 0.21, -120, 150)]],
    "6": [[(0.58, 0.15), (0.38, 0.4), *arc(0.48, 0.66, 0.18, 0.19, 200, -170)]],
    "7": [[(0.27, 0.17), (0.74, 0.15), (0.48, 0.85)]],
    "7 with a bar": [[(0.27, 0.17), (0.74, 0.15), (0.48, 0.85)], [(0.36, 0.5), (0.72, 0.48)]],
    "8": [
        [*arc(0.5, 0.32, 0.16, 0.17, -40, -240), *arc(0.5, 0.67, 0.19, 0.18, -50, 230), (0.64, 0.2)]
    ],
    "9": [[*arc(0.48, 0.34, 0.19, 0.19, -20, -350), (0.67, 0.3), (0.58, 0.85)]],
}


def draw(page, digit: str, events: int = FEW) -> None:
    """On an empty canvas; the answer comes when the pen is lifted."""
    button(page, "Clear").click()
    page.get_by_text("the answer appears here").wait_for()
    canvas = page.locator(".drawing canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in DIGITS[digit]:
        first, *others = (
            (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke
        )
        page.mouse.move(*first)
        page.mouse.down()
        for place in others:
            page.mouse.move(*place, steps=events)
        page.mouse.up()
    frames(page)


def best(page) -> tuple[str, float]:
    """(the class, its score in percent) of the answer to a drawing, once the answers rest."""
    page.locator(".answer .verdict").wait_for()
    page.wait_for_timeout(1_000)  # a second stroke is answered again
    name, score = page.locator(".answer li .name, .answer li .n").all_inner_texts()[:2]
    return name, float(score.strip("<>% "))
