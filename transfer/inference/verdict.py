"""An answer in one line: which class, which few, or none."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer

NINE_OF_TEN = 0.9  # how many of a classifier's sets hold the true class
HALF = 0.5
MOST_NAMED = 3


class Verdict(NamedTuple):
    """`labels` are the class, the classes it may be, or the closest one; best first."""

    kind: Literal["sure", "unsure", "unknown"]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        named = " or ".join(self.labels[:MOST_NAMED])
        if (left := len(self.labels) - MOST_NAMED) > 0:
            named += f" or {left:,} more"
        if self.kind == "unknown":
            return f"Unlike anything it was taught; closest: {named}"
        return f"Probably {named}" if self.kind == "sure" else f"Not sure: {named}"


def verdict(answer: "Answer") -> Verdict:
    """What may be said about a picture without claiming more than the classifier knows.

    - A picture that is not `known` is of no class, whatever its scores: they only share out what
      the classes have.
    - Scores are calibrated, so a class with NINE_OF_TEN is right that often.
    - Below that, one class stands out if it is alone in the set and likelier than all others
      together. The set alone would not do: it keeps its promise over all pictures, not for each.
    - Otherwise the classes of the set are named. A set of fewer than two says that no class stands
      out: then the two best are.
    """
    best, *others = (prediction.label for prediction in answer.predictions)
    score = answer.predictions[0].score
    if answer.known is False:
        return Verdict("unknown", (best,))
    if score >= NINE_OF_TEN or (answer.set == (best,) and score > HALF):
        return Verdict("sure", (best,))
    several = answer.set is not None and len(answer.set) > 1
    return Verdict("unsure", answer.set if several else (best, *others[:1]))
