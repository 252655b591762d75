"""Tells drawings (letters, digits, line art, flat logos) from photos, whether grey or in colour."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageFilter

SIDE = 128  # px: larger pictures are reduced, so that blurred edges become narrow
TONES = 3
SAME_TONE = 16  # of 255, to both sides: JPEG and paper scatter a tone
FLAT = 24  # of 255: how far the 3 x 3 pixels around a place differ, at most
LEAST_SHADING = 0.02


def are_drawings(images: Iterable[Image.Image]) -> bool:
    """Whether the median `shading` of RGB images is small.

    Measured: at most 0.01 in letters, scans, line art and digits of 8 to 512 px, also as JPEG; 0.04
    to 0.05 in photos of 28 to 32 px, 0.13 and more in larger photos and in X-ray-like pictures.
    """
    return bool(np.median([shading(image) for image in images]) < LEAST_SHADING)


def shading(image: Image.Image) -> float:
    """The share, 0…1, of soft gradients in what is not background.

    A drawing has its few tones, and others only at its edges. So those pixels are counted whose
    surroundings are flat, though they have none of the picture's three commonest tones.
    """
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    left = np.bincount(np.asarray(grey).ravel(), minlength=256)  # pixels of each tone
    pixels = left.sum()
    flat = _filtered(grey, ImageFilter.MaxFilter) - _filtered(grey, ImageFilter.MinFilter) <= FLAT
    soft = np.bincount(np.asarray(grey)[flat], minlength=256)
    background = 0
    for _ in range(TONES):
        tone = np.convolve(left, np.ones(2 * SAME_TONE + 1), "same").argmax()
        near = slice(max(0, tone - SAME_TONE), tone + SAME_TONE + 1)
        background = background or left[near].sum()
        left[near] = soft[near] = 0
    return float(soft.sum() / max(1, pixels - background))


def _filtered(grey: Image.Image, kind: type[ImageFilter.Filter]) -> np.ndarray:
    return np.asarray(grey.filter(kind(3)), dtype=np.int16)
