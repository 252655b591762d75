import pytest

from transfer.data.dataset import DatasetSummary
from transfer.settings import UNFREEZE, TrainingSettings
from transfer.training.defaults import EFFORTS, fill_defaults, times

PHOTOS = DatasetSummary(train_images=1_000, side=200, grey=False)
GREY = DatasetSummary(train_images=1_000, side=8, grey=True)


def suited(effort: str, look: DatasetSummary = PHOTOS, **options) -> TrainingSettings:
    asked = TrainingSettings.from_options(effort=effort, **options)
    return fill_defaults(asked, look, "hub", fast_device=False)


def test_every_effort_does_more_than_the_one_before_it():
    quick, balanced, thorough = (suited(name) for name in EFFORTS)
    assert quick.warm_up.epochs < balanced.warm_up.epochs < thorough.warm_up.epochs
    assert quick.fine_tune.epochs < balanced.fine_tune.epochs < thorough.fine_tune.epochs
    assert quick.views < balanced.views < thorough.views
    assert (quick.unfreeze, balanced.unfreeze, thorough.unfreeze) == ("none", "block5", "block4")
    assert (quick.try_heads, balanced.try_heads, thorough.try_heads) == (False, True, True)


def test_balanced_is_what_one_gets_without_asking():
    assert suited("balanced") == fill_defaults(TrainingSettings(), PHOTOS, "hub", fast_device=False)


@pytest.mark.parametrize("effort", EFFORTS)
def test_what_is_set_wins_over_the_effort(effort):
    given = {"head_epochs": 3, "finetune_epochs": 2, "views": 5, "unfreeze": "block2"}
    settings = suited(effort, **given)
    assert (settings.warm_up.epochs, settings.fine_tune.epochs) == (3, 2)
    assert (settings.views, settings.unfreeze) == (5, "block2")


@pytest.mark.parametrize("effort", EFFORTS)
def test_letters_and_digits_are_never_mirrored(effort):
    assert suited(effort, GREY).views == 1


def test_there_is_one_epoch_and_one_view_at_least():
    assert times(0.25, 1) == 1 and times(2, 3) == 6


@pytest.mark.parametrize("effort", EFFORTS.values())
def test_an_effort_unfreezes_what_there_is(effort):
    assert effort.unfreeze in UNFREEZE and effort.what.endswith(".")
