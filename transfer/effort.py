"""How much is done to teach a network: three named efforts, and what each of them changes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """`warm_up`, `fine_tune` and `views` multiply the epochs and the views of each image that the
    data would get; `unfreeze` is the lowest block that learns; `try_heads` whether several heads
    are tried on the features first.
    """

    what: str
    warm_up: float
    fine_tune: float
    views: float
    unfreeze: str
    try_heads: bool


EFFORTS = {
    "quick": Effort(
        what="Warm-up alone, with half of the epochs, one view of each image and the usual head.",
        warm_up=0.5,
        fine_tune=0.5,
        views=0.25,
        unfreeze="none",
        try_heads=False,
    ),
    "balanced": Effort(
        what="Several heads are tried, the best one warms up, then block5 learns too.",
        warm_up=1,
        fine_tune=1,
        views=1,
        unfreeze="block5",
        try_heads=True,
    ),
    "thorough": Effort(
        what="Twice the fine-tune epochs over twice the views of each photo, and block4 learns as "
        "well.",
        warm_up=1.5,
        fine_tune=2,
        views=2,
        unfreeze="block4",
        try_heads=True,
    ),
}


def times(factor: float, number: int) -> int:
    """So many times a number of epochs or views, one at least."""
    return max(1, round(factor * number))
