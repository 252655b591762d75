"""A learning curve: accuracy against the number of images, and what twice as many would give.

Logistic regressions are fitted on nested parts of the images, in several draws. The error follows
a power law with a floor, a + b · n^-c (Hestness et al. 2017), which is extrapolated. Nothing is
chosen by what these fits are judged on, so all images judge, each by fits on other folds: the most
that a dataset can say, and more than a few held-out images could.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transfer.data.splits import stratified_folds
from transfer.features.linear_probe import one_blas_thread
from transfer.features.out_of_fold import probabilities

FOLDS, DRAWS = 5, 3
STRENGTH = 30.0  # scikit-learn's C: the most accurate of 10, 30 and 100 on few images and many
STEP, MOST_SIZES = 2**0.5, 7  # between two sizes; 7 of them reach down to an eighth
FEWEST_A_CLASS = 2
EXPONENTS = np.linspace(0.2, 1.2, 11)  # c; measured ones lie between 0.07 and 1 (Hestness et al.)
RESAMPLES = 1_000
INTERVAL = (0.025, 0.975)
MOST_JUDGED = 4_000  # images; fits on more take minutes
FEWEST_SIZES = 4
# per class
MORE = 20  # images, and at most as many as there are
FEW = 8  # images, of which half says too little
MOST_CLASSES = 12  # those with the most mistakes, for each takes fits of its own
CLASS_EXPONENT = 0.5  # c, which a single class says too little about


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """Error a + b · (n / top)^-c of B curves, each float (B,)."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    top: int

    def gain(self, images: int, more: float) -> np.ndarray:
        """How much the error falls from `images` to `images + more`: float (B,)."""
        before, after = (n / self.top for n in (images, images + more))
        return self.b * (before**-self.c - after**-self.c)


def sizes_of(images: int, y: np.ndarray, seed: int) -> list[int]:
    """Numbers of images to fit on, ascending by STEP, up to `images` or to what the folds of the
    labels `y`, int64 (N,), leave to be fitted."""
    largest = min((len(fitted) for fitted, _ in stratified_folds(y, FOLDS, seed)), default=0)
    found = {round(min(images, largest) / STEP**i) for i in range(MOST_SIZES)}
    return sorted(n for n in found if n >= FEWEST_A_CLASS * len(np.unique(y)))


def nested_order(labels: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`rows` in an order whose every beginning has each class in its share, and at least once."""
    key = np.empty(len(rows))
    for label in np.unique(labels[rows]):
        at = random.permutation(np.flatnonzero(labels[rows] == label))
        key[at] = (np.arange(len(at)) + random.random(len(at))) / len(at)
        key[at[0]] = -1  # the first of each class before all others
    return rows[np.argsort(key, kind="stable")]


Part = tuple[int, np.ndarray, np.ndarray]


def _parts(y: np.ndarray, seed: int) -> Iterator[Part]:
    """(draw, rows to fit in a nested order, rows to judge) of each fold of each draw."""
    for draw in range(DRAWS):
        random = np.random.default_rng([seed, draw])
        for fitted, held in stratified_folds(y, FOLDS, seed + draw):
            yield draw, nested_order(y, fitted, random), held


def _hits(x: np.ndarray, y: np.ndarray, fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Whether a fit on the one rows is right about each of the others: bool (len(held),)."""
    found = probabilities(x[fitted], y[fitted], x[held], STRENGTH, y.max() + 1)
    return found.argmax(axis=1) == y[held]


@one_blas_thread()
def hits_by_size(x: np.ndarray, y: np.ndarray, sizes: list[int], seed: int) -> np.ndarray:
    """Whether fits on so many images are right about each image that they have not seen.

    Bool (sizes, draws, N); `x` float32 (N, width) are features as `directions` makes them, `y`
    int64 (N,). A larger part holds the smaller ones.
    """
    hits = np.zeros((len(sizes), DRAWS, len(y)), dtype=bool)
    for draw, order, held in _parts(y, seed):
        for i, size in enumerate(sizes):
            hits[i, draw, held] = _hits(x, y, order[:size], held)
    return hits


def fit_power_law(errors: np.ndarray, sizes: list[int]) -> PowerLaw:
    """Weighted least squares with a, b ≥ 0; `errors` float (B, sizes).

    Errors of small parts spread more, so they weigh less.
    """
    n = np.array(sizes, dtype=float) / sizes[-1]
    best, least = np.zeros((3, len(errors))), np.full(len(errors), np.inf)
    for c in EXPONENTS:
        u = n**-c  # (sizes,)
        a, b = _line(u, errors, n)
        loss = (n * (errors - a[:, None] - b[:, None] * u) ** 2).sum(axis=1)
        better = loss < least
        least[better] = loss[better]
        best[:, better] = np.stack([a, b, np.full(len(a), c)])[:, better]
    return PowerLaw(a=best[0], b=best[1], c=best[2], top=sizes[-1])


def _line(u: np.ndarray, errors: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) of a + b · u for each row of `errors`, neither below 0."""
    mean_u = (weight * u).sum() / weight.sum()
    mean_error = (weight * errors).sum(axis=1) / weight.sum()
    b = (weight * (errors - mean_error[:, None]) * (u - mean_u)).sum(axis=1)
    b = np.maximum(b / (weight * (u - mean_u) ** 2).sum(), 0)
    a = mean_error - b * mean_u
    through_zero = (weight * u * errors).sum(axis=1) / (weight * u**2).sum()
    return np.maximum(a, 0), np.where(a < 0, through_zero, b)


def curve_points(hits: np.ndarray, sizes: list[int]) -> list[dict]:
    """Mean accuracy of each size with Wilson's 95 % interval for so many images (Wilson 1927)."""
    from scipy.stats import binomtest

    found = []
    for size, accuracy in zip(sizes, hits.mean(axis=(1, 2)).tolist(), strict=True):
        images = hits.shape[2]
        interval = binomtest(round(accuracy * images), images).proportion_ci(method="wilson")
        low, high = min(interval.low, accuracy), max(interval.high, accuracy)
        found.append({"images": size, "accuracy": accuracy, "low": low, "high": high})
    return found


def doubled(hits: np.ndarray, sizes: list[int], images: int, tested: int, seed: int) -> dict:
    """What twice as many `images` would gain: {"gain", "low", "high", "expected"}.

    "expected" is the 95 % interval of the curve's own gain, from resampling the images that judge
    it (the bootstrap; Efron 1979). Between "low" and "high" lies, in 95 of 100 cases, what a
    training on twice as many would measure on `tested` test images: these add chance of their own.
    """
    random = np.random.default_rng(seed)
    wrong = 1 - hits.mean(axis=1)  # (sizes, N), the share of draws
    gain = fit_power_law(wrong.mean(axis=1)[None], sizes).gain(images, images)[0]
    drawn = random.integers(wrong.shape[1], size=(RESAMPLES, wrong.shape[1]))
    errors = np.stack([part[drawn].mean(axis=1) for part in wrong], axis=1)  # (B, sizes)
    gains = fit_power_law(errors, sizes).gain(images, images)
    noise = random.normal(0, np.sqrt(_changed(hits) / tested), RESAMPLES)
    low, high = np.quantile(gains + noise, INTERVAL).tolist()
    expected = np.quantile(gains, INTERVAL).tolist()
    return {"gain": float(gain), "low": low, "high": high, "expected": expected}


def _changed(hits: np.ndarray) -> float:
    """The share of images about which a fit on twice as many would be right instead of wrong, or
    the other way round: as it fell from one doubling to the next, it falls once more."""
    doublings = [(hits[i] != hits[i + 2]).mean() for i in range(len(hits) - 2)]  # a STEP is half
    earlier, latest = doublings[max(0, len(doublings) - 3)], doublings[-1]
    return latest * min(1.0, latest / earlier) if earlier else latest


@one_blas_thread()
def class_gains(
    x: np.ndarray, y: np.ndarray, size: int, hits: np.ndarray, class_images: np.ndarray, seed: int
) -> dict[int, dict]:
    """Class → what more images of it alone would gain: {"more", "gain", "low", "high"}.

    Estimated from what half of its images have given in accuracy over all classes: `hits`, bool
    (draws, N), are those of fits on `size` images, compared with fits that lack this half.
    `class_images`, int (classes,), are how many there are. Only for classes with enough images.
    """
    wrong = np.bincount(y, weights=1 - hits.mean(axis=0))
    enough = [label for label in np.argsort(-wrong, kind="stable") if class_images[label] >= FEW]
    return {
        int(label): _class_gain(x, y, size, hits, int(label), int(class_images[label]), seed)
        for label in sorted(enough[:MOST_CLASSES])
    }


def _class_gain(
    x: np.ndarray, y: np.ndarray, size: int, hits: np.ndarray, label: int, images: int, seed: int
) -> dict:
    lost = hits.astype(float)  # (draws, N), the accuracy that the half has given
    for draw, order, held in _parts(y, seed):
        of_class = [row for row in order[:size] if y[row] == label]
        less = np.setdiff1d(order[:size], of_class[(len(of_class) + 1) // 2 :])
        lost[draw, held] -= _hits(x, y, less, held)
    more, fitted = min(MORE, images), len(of_class)
    exponent = -CLASS_EXPONENT
    share = (images**exponent - (images + more) ** exponent) / (
        ((fitted + 1) // 2) ** exponent - fitted**exponent
    )
    random, lost = np.random.default_rng(seed), share * lost.mean(axis=0)
    drawn = random.integers(len(lost), size=(RESAMPLES, len(lost)))
    low, high = np.quantile(lost[drawn].mean(axis=1), INTERVAL).tolist()
    return {"more": more, "gain": float(lost.mean()), "low": low, "high": high}
