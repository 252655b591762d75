import re
from pathlib import Path

import pytest

from tests.ui.history import history
from transfer.events import PhaseStarted
from transfer.jobs import Job
from transfer.settings import BLOCKS, TrainingSettings
from transfer.ui.train.diagram import SEES, live_picture, planned_picture, share


def states(page: str) -> dict[str, str]:
    """Part → frozen, later or learns, as it is drawn and as it is said."""
    found = {}
    for state, rest in re.findall(r'<li class="part (\w+)">(.*?)</li>', page):
        name = re.search(r"<b>(\w+)</b>", rest)[1]
        said = {"frozen": "frozen<", "later": "learns in phase 2<", "learns": "learns<"}[state]
        assert said in rest
        found[name] = state
    assert list(found) == list(SEES)
    return found


def job(events, state="warm-up", **options) -> Job:
    known = {"id": "1", "owner": "", "source": "digits", "out": Path("runs/x")}
    settings = TrainingSettings(**options)
    return Job(**known, settings=settings, history=events, state=state)


@pytest.mark.parametrize("unfreeze", BLOCKS)
def test_before_the_start_what_learns_in_phase_2_begins_at_the_chosen_block(unfreeze):
    page = planned_picture("finetune", unfreeze)
    upper = BLOCKS[BLOCKS.index(unfreeze) :]
    expected = {name: "later" if name in upper else "frozen" for name in BLOCKS}
    assert states(page) == expected | {"head": "learns"}
    assert f"{upper[-1]} learn" in page


@pytest.mark.parametrize(
    ("method", "title"), [("features", "Feature extraction"), ("finetune", "Warm-up alone")]
)
def test_without_a_second_phase_the_whole_body_stays_frozen(method, title):
    page = planned_picture(method, "none")
    assert states(page) == dict.fromkeys(BLOCKS, "frozen") | {"head": "learns"}
    assert title in page


def test_feature_extraction_has_no_second_phase_whatever_is_unfrozen():
    assert "later" not in states(planned_picture("features", "block1")).values()


def test_it_changes_with_the_phase():
    events = history()
    warm_up = states(live_picture(job(events[:3], unfreeze="block5")))
    assert warm_up["block5"] == "later" and warm_up["head"] == "learns"
    fine_tune = states(live_picture(job(events[:7], "fine-tune", unfreeze="block5")))
    assert fine_tune["block5"] == "learns" and fine_tune["block4"] == "frozen"


def test_what_was_asked_is_shown_until_something_learns():
    page = live_picture(job([], "loading", method="finetune", unfreeze="block4"))
    assert page == planned_picture("finetune", "block4")


def test_frozen_parts_have_moved_by_nothing_and_the_others_by_their_drift():
    page = live_picture(job(history(), "done", unfreeze="block5"))
    assert page.count("moved 0</span>") == 4
    assert "moved 3.00%" in page and "moved 30%" in page
    assert "not changed by one bit" in page


def test_after_the_end_nothing_is_to_learn_any_more():
    page = live_picture(job(history()[:5], "done", unfreeze="block5"))
    assert "later" not in states(page).values()


def test_a_body_that_the_effort_chose_is_known_from_the_settings():
    started = PhaseStarted(phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"])
    assert states(live_picture(job([started])))["block5"] == "later"


@pytest.mark.parametrize(
    ("moved", "said"), [(0, "0"), (0.0001, "< 0.05%"), (0.0123, "1.23%"), (0.5, "50%"), (2, "200%")]
)
def test_a_distance_has_as_many_digits_as_it_needs(moved, said):
    assert share(moved) == said
