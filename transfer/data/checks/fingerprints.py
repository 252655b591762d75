"""Which images show the same picture: exact copies, and copies that were resized or re-encoded.

ImageHash's perceptual hash (signs of the lowest frequencies of a cosine transform, Zauner 2010)
finds candidates, a thumbnail in colour decides. Memory grows with the images, not with their pairs.
A copy that is cropped, mirrored, rotated or recoloured counts as another picture.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from PIL import Image

HASHED_SIDE = 64  # px
THUMBNAIL_SIDE = 12  # px
CHANNEL_WEIGHTS = np.array([1, 0.5, 0.5], dtype=np.float32)  # of Y, Cb, Cr: JPEG's colour is coarse
MOST_BITS_APART = 10  # of the hash's 64
LARGEST_DIFFERENCE = 0.15  # of the contrast
SMALLEST_CONTRAST = 4.0  # in 0…255: flatter pictures cannot be told apart
SMALLEST_SIDE = 16  # px: smaller pictures cannot be told apart
BANDS = 4  # of the hash, 16 bits each
MOST_IN_BAND = MOST_BITS_APART // BANDS
MASKS = [mask for mask in range(1 << 16) if mask.bit_count() <= MOST_IN_BAND]
PAIRS_AT_ONCE = 500_000  # hash comparisons, 20 MB
CANDIDATES_AT_ONCE = 4_096  # thumbnail comparisons, 7 MB
MOST_CANDIDATES = 10_000_000  # then it gives up


def _resized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3)


def _spread(difference: np.ndarray) -> np.ndarray:
    """(…, 12, 12, 3) → (…), the root of the weighted mean square."""
    weighted = difference * CHANNEL_WEIGHTS
    square = np.einsum("...hwc,...hwc->...", weighted, weighted)
    return np.sqrt(square / math.prod(weighted.shape[-3:]))


class Fingerprints:
    """Those of N images, about 600 bytes each; a row without one equals no other.

    `digests` are of size and pixels, `hashes` 64 bits each, `thumbnails` YCbCr, and `contrasts`
    their weighted standard deviations in 0…255, or 0 where the picture is too small or too flat.
    """

    def __init__(self, images: int):
        self.digests: list[bytes | None] = [None] * images
        self.hashes = np.zeros(images, dtype=np.uint64)
        self.thumbnails = np.zeros((images, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), dtype=np.uint8)
        self.contrasts = np.zeros(images, dtype=np.float32)

    def add(self, row: int, image: Image.Image) -> None:
        """Of an upright RGB image."""
        from imagehash import phash

        digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=16)
        digest.update(image.tobytes())
        self.digests[row] = digest.digest()
        small = image if max(image.size) <= HASHED_SIDE else _resized(image, HASHED_SIDE)
        self.hashes[row] = int.from_bytes(np.packbits(phash(small).hash).tobytes())
        thumbnail = np.asarray(_resized(small, THUMBNAIL_SIDE).convert("YCbCr"))
        self.thumbnails[row] = thumbnail
        contrast = float(_spread(thumbnail - thumbnail.mean(axis=(0, 1))))
        if contrast >= SMALLEST_CONTRAST and min(image.size) >= SMALLEST_SIDE:
            self.contrasts[row] = contrast

    def are_exact(self, rows: Iterable[int]) -> bool:
        return len({self.digests[row] for row in rows}) == 1

    def compared(self) -> int:
        """How many images can be compared; of the others only exact copies are found."""
        return int(np.count_nonzero(self.contrasts))

    def groups(self) -> tuple[list[np.ndarray], bool]:
        """(for each picture that occurs twice or more its rows, ascending; whether all candidate
        pairs were compared: where very many have similar hashes, it gives up)."""
        group, first = np.arange(len(self.digests)), {}
        for row, digest in enumerate(self.digests):
            group[row] = row if digest is None else first.setdefault(digest, row)
        alone = np.flatnonzero((group == np.arange(len(group))) & (self.contrasts > 0))
        complete = self._join_alike(alone, group)
        group = _first_of(group, np.arange(len(group)))
        order = np.argsort(group, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
        return [rows for rows in parts if len(rows) > 1], complete

    def _join_alike(self, rows: np.ndarray, group: np.ndarray) -> bool:
        """Point similar rows to the lowest one of them; False where it gave up."""
        compared = 0
        for one, other in self._candidates(rows):
            apart = _first_of(group, one) != _first_of(group, other)
            one, other = one[apart], other[apart]
            compared += len(one)
            if compared > MOST_CANDIDATES:
                return False
            same = self._same(one, other)
            for a, b in zip(one[same], other[same], strict=True):
                low, high = sorted(_first_of(group, np.array([a, b])))
                group[high] = low
        return True

    def _candidates(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of rows with similar hashes: two int arrays (P,), P up to CANDIDATES_AT_ONCE.

        Hashes at most 10 bits apart are at most 2 apart in one of four bands of 16 bits, so only
        those are compared (multi-index hashing, Norouzi et al. 2012).
        """
        hashes = self.hashes[rows]
        bands = hashes.view(np.uint16).reshape(-1, BANDS)  # (M, 4)
        for band, values in enumerate(bands.T):
            for one, other in _in_one_band(values):
                near = np.bitwise_count(hashes[one] ^ hashes[other]) <= MOST_BITS_APART
                one, other = one[near], other[near]
                # not those that an earlier band has found
                apart = np.bitwise_count(bands[one, :band] ^ bands[other, :band])  # (P, band)
                new = (apart > MOST_IN_BAND).all(axis=1)
                one, other = rows[one[new]], rows[other[new]]
                for at in range(0, len(one), CANDIDATES_AT_ONCE):
                    part = slice(at, at + CANDIDATES_AT_ONCE)
                    yield one[part], other[part]

    def _same(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """bool (P,): whether the thumbnails differ by little of their own contrast."""
        difference = self.thumbnails[one].astype(np.float32) - self.thumbnails[other]
        contrast = np.minimum(self.contrasts[one], self.contrasts[other])
        return _spread(difference) <= LARGEST_DIFFERENCE * contrast


def _first_of(group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The lowest row of the group of each of `rows`; `group` points from row to row, down to it."""
    first = group[rows]
    while (group[first] != first).any():
        first = group[first]
    return first


def _in_one_band(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs, each once, whose values (uint16) are at most 2 bits apart: two int arrays (P,)."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(np.bincount(values, minlength=1 << 16))
    for mask in MASKS:
        wanted = values ^ mask
        starts = np.where(wanted > 0, ends[wanted - 1], 0)
        rows = np.flatnonzero(wanted >= values)  # the others are found from the other side
        numbers = (ends[wanted] - starts)[rows]
        totals = np.cumsum(numbers)
        for part in _parts(totals):
            one = np.repeat(rows[part], numbers[part])
            skipped = np.repeat(totals[part] - numbers[part], numbers[part])
            place = np.arange(len(one)) + (totals[part] - numbers[part])[:1] - skipped
            other = order[np.repeat(starts[rows[part]], numbers[part]) + place]
            if not mask:
                one, other = one[one < other], other[one < other]
            yield one, other


def _parts(totals: np.ndarray) -> Iterator[slice]:
    """Of rows, whose pairs add up to `totals`: parts of about PAIRS_AT_ONCE pairs."""
    whole = totals[-1] if len(totals) else 0
    cuts = np.searchsorted(totals, np.arange(0, whole, PAIRS_AT_ONCE), side="right")
    for start, end in pairwise([*np.unique(cuts), len(totals)]):
        yield slice(start, end)
