"""Scores that mean what they say: a temperature, and sets of classes that hold the truth.

Both are learned from images that the network was not fitted on.
"""

from dataclasses import dataclass

import numpy as np

from transfer.features.validation import Validation

IMAGES_A_MISS = 10  # of so many images one may have its true class outside its set
COVERAGE = 1 - 1 / IMAGES_A_MISS


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """`temperature` divides the logits (Guo et al. 2017). The classes that score at least
    `least_score` then form a set that holds the true class of COVERAGE of all images: split
    conformal prediction by the score of the true class (Sadinle et al. 2019; Angelopoulos & Bates
    2023, section 1). `images` is how many both were learned from.
    """

    temperature: float
    least_score: float
    images: int

    @classmethod
    def of(cls, validation: Validation) -> "Calibration":
        return cls(
            temperature=validation.temperature,
            least_score=_least_score(validation.true_scores.numpy()),
            images=len(validation.true_scores),
        )

    def tempered(self, logits: np.ndarray) -> np.ndarray:
        """Logits float32 (N, classes) → scores float32 (N, classes), rows summing to 1."""
        from scipy.special import softmax

        return softmax(logits / self.temperature, axis=1)


def _least_score(true_scores: np.ndarray) -> float:
    """Of M + 1 images, one of them new, the new one is equally likely to be at each rank.

    0, so that all classes are in the set, where there are too few images to tell.
    """
    rank = (len(true_scores) + 1) // IMAGES_A_MISS
    return float(np.sort(true_scores)[rank - 1]) if rank else 0.0
