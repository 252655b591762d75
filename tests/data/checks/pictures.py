"""Generated photos, copies of them, and datasets made of both."""

import io

import numpy as np
from PIL import Image

from transfer.data.dataset import ImageDataset, Split


def photo(number: int, width: int = 120, height: int = 90, low: int = 0, high: int = 255):
    """Coloured blobs with fine noise, no two numbers alike; RGB."""
    draw = np.random.default_rng(number)
    side = 5 if min(width, height) < 50 else 9
    blobs = Image.fromarray(draw.integers(low, high + 1, (side, side, 3), dtype=np.uint8))
    large = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noise = draw.integers(-6, 7, large.shape)
    return Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def copied(image: Image.Image, scale: float = 1, quality: int = 95) -> bytes:
    """Resized, and saved again as JPEG."""
    size = (round(image.width * scale), round(image.height * scale))
    return saved(image.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=quality)


def source(classes=("cat", "dog"), **splits) -> ImageDataset:
    """Each split a list of (class, picture); its images are called `split/class/number`."""
    return ImageDataset(
        source="here",
        revision="1",
        classes=tuple(classes),
        splits={name: _split(name, classes, rows) for name, rows in splits.items()},
    )


def _split(name: str, classes, rows: list) -> Split:
    return Split(
        labels=np.array([classes.index(label) for label, _ in rows], dtype=np.int64),
        names=tuple(f"{name}/{label}/{at}" for at, (label, _) in enumerate(rows)),
        read=lambda i: rows[i][1],
    )


def photos(label: str, numbers) -> list:
    return [(label, photo(number)) for number in numbers]
