import math

import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from tests.tiny import validation
from transfer.features.validation import DIVERGED_LOSS, Judged, Validation

IMAGES = 20
# a hard image is hard for every head: only a paired test sees which head is better
PLAIN = torch.randn(IMAGES, generator=torch.Generator().manual_seed(0)).exp()


FEW_AND_MANY = torch.arange(6) % 3, torch.arange(3_000) % 3


def halves(*tensors: torch.Tensor):
    """(first half of each, …), (second half of each, …)."""
    return zip(*(tensor.chunk(2) for tensor in tensors), strict=True)


def judged(losses: torch.Tensor) -> Validation:
    return validation(losses.nan_to_num(nan=DIVERGED_LOSS), losses < 1)


def better(p: float) -> torch.Tensor:
    """Losses that a one-sided paired t-test finds lower than PLAIN with exactly this p-value."""
    pattern = torch.linspace(-1, 1, IMAGES, dtype=torch.float64)
    t = stats.t.isf(p, IMAGES - 1)
    return (PLAIN - 0.01 * (pattern / pattern.std() + t / math.sqrt(IMAGES))).float()


@pytest.mark.parametrize(
    ("p", "challengers"), [(0.04, 1), (0.06, 1), (0.999, 1), (0.0095, 5), (0.0105, 5)]
)
def test_the_significance_level_is_divided_by_the_challengers(p, challengers):
    assert judged(better(p)).beats(judged(PLAIN), challengers) is (p < 0.05 / challengers)


def test_one_image_never_decides():
    worse = torch.full((IMAGES,), 0.3)
    worse[0] = 50.0
    assert not judged(torch.full((IMAGES,), 0.3)).beats(judged(worse))


@pytest.mark.parametrize("sureness", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_how_sure_a_network_is(sureness):
    """Labels are drawn by the scores of the logits, which are therefore calibrated."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4_000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    found = Validation.joined(Judged.of(sureness * part, y) for part, y in halves(logits, labels))
    assert found.temperature == pytest.approx(sureness, rel=0.1)
    true = logits.softmax(1)[torch.arange(len(labels)), labels]
    assert torch.allclose(found.true_scores, true, atol=0.05)


def test_few_images_that_are_all_right_do_not_make_a_network_certain():
    few, many = (Validation.joined([Judged.of(torch.eye(3)[y], y)]) for y in FEW_AND_MANY)
    assert few.accuracy == many.accuracy == 1.0
    assert 0.5 < few.true_scores.mean() < 0.95 < many.true_scores.mean()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_losses_that_are_equal_or_single_decide_nothing_and_infinite_ones_lose():
    lost = judged(torch.full_like(PLAIN, torch.nan))
    assert not lost.beats(judged(PLAIN)) and judged(PLAIN).beats(lost)
    assert not judged(PLAIN).beats(judged(PLAIN.clone()))
    assert not judged(torch.tensor([0.1])).beats(judged(torch.tensor([0.9])))


@pytest.mark.parametrize("sureness", [0.5, 1.0, 4.0])
def test_how_sure_a_network_is_does_not_change_its_loss(sureness):
    labels = torch.arange(200) % 3
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(200), labels] += 1
    found = [Validation.joined([Judged.of(sure * logits, labels)]) for sure in (1.0, sureness)]
    assert found[0].loss == pytest.approx(found[1].loss, abs=1e-5)
    assert found[0].loss < cross_entropy(logits / 8, labels).item()
    assert found[0].accuracy == found[1].accuracy == (logits.argmax(1) == labels).float().mean()


@pytest.mark.parametrize(("more", "enough"), [(2, False), (6, True)])
def test_right_more_often_counts_images_that_one_is_right_about_and_the_other_is_not(more, enough):
    losses, images = torch.ones(100), torch.arange(100)
    good, better = (validation(losses, images < n) for n in (60, 60 + more))
    assert better.right_more_often(good) is enough
    assert not good.right_more_often(better) and not good.right_more_often(good)
    assert not better.right_more_often(good, torch.where(images < 60, 1.0, 0.0)), "they weigh 0"
