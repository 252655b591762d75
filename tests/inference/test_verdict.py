import pytest

from transfer.inference.classifier import Answer, Prediction
from transfer.inference.verdict import verdict


def said(*scores: float, of: tuple[str, ...] | None = None, known: bool | None = True) -> str:
    """The verdict on classes a, b, c … with these scores and this set."""
    found = [Prediction(label="abcdefg"[i], score=score) for i, score in enumerate(scores)]
    return str(verdict(Answer(predictions=found, set=of, known=known)))


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"scores": (0.9, 0.1), "of": ("a", "b")}, "Probably a"),
        ({"scores": (0.9, 0.1), "of": ()}, "Probably a"),
        ({"scores": (0.89, 0.11), "of": ("a", "b")}, "Not sure: a or b"),
        ({"scores": (0.51, 0.3, 0.19), "of": ("a",)}, "Probably a"),
        ({"scores": (0.5, 0.3, 0.2), "of": ("a",)}, "Not sure: a or b"),
        ({"scores": (0.6, 0.2, 0.2), "of": ()}, "Not sure: a or b"),
        ({"scores": (0.6, 0.2, 0.2), "of": tuple("abc")}, "Not sure: a or b or c"),
        ({"scores": (0.3, 0.2, 0.2), "of": tuple("abcde")}, "Not sure: a or b or c or 2 more"),
        ({"scores": (0.9, 0.1), "known": None}, "Probably a"),
        ({"scores": (0.89, 0.11), "known": None}, "Not sure: a or b"),
        ({"scores": (1.0,), "of": ("a",)}, "Probably a"),
        ({"scores": (0.4,)}, "Not sure: a"),
        (
            {"scores": (0.99, 0.01), "of": ("a",), "known": False},
            "Unlike anything it was taught; closest: a",
        ),
    ],
)
def test_a_verdict_claims_no_more_than_the_classifier_knows(answer, line):
    assert said(*answer.pop("scores"), **answer) == line
