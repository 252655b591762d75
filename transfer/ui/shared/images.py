"""Pictures inside the page as data URLs, so that no visitor's picture is written to disk for it."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

THUMBNAIL = 128  # pixels
CAMERA_SCRIPT = Path(__file__).with_name("camera.js").read_text(encoding="utf-8")


def thumbnails(pictures: list[tuple[Image.Image, str]]) -> str:
    """RGB pictures, each with a caption."""
    figures = "".join(
        f'<figure><img src="{data_url(picture, THUMBNAIL)}" alt="{escape(caption)}"><figcaption>'
        f"{escape(caption)}</figcaption></figure>"
        for picture, caption in pictures
    )
    return f'<div class="thumbnails">{figures}</div>'


def data_url(picture: Image.Image, side: int) -> str:
    """An RGB picture as WebP, its longer side about `side` pixels."""
    file = io.BytesIO()
    fitted(picture, side).save(file, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """At most `side` pixels; tiny pictures grow by whole pixels, so that these stay visible."""
    picture = picture.copy()
    picture.thumbnail((side, side))
    times = max(1, side // max(picture.size))
    width, height = picture.size
    return picture.resize((width * times, height * times), Image.Resampling.NEAREST)
