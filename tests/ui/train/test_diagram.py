import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.history import history
from transfer.events import PhaseDone
from transfer.jobs import Job
from transfer.settings import BLOCKS, TrainingSettings
from transfer.ui.train.diagram import PARTS, live_diagram, planned_diagram


def states(page: str) -> dict[str, str]:
    """Part → frozen, later or learns."""
    found = {name: state for state, name in re.findall(r'"part (\w+)">.*?<b>(\w+)</b>', page)}
    assert list(found) == list(PARTS)
    return found


def diagram(events, state="warm-up", unfreeze="block5") -> str:
    settings = TrainingSettings(unfreeze=unfreeze)
    known = {"id": "1", "owner": "", "source": "digits", "out": Path("runs/x")}
    return live_diagram(Job(**known, settings=settings, history=events, state=state))


@pytest.mark.parametrize(
    ("method", "unfreeze", "later", "text"),
    [
        ("finetune", "block2", BLOCKS[1:], "then block2 and up too"),
        ("finetune", "none", (), "Warm-up only"),
        ("features", "block1", (), "Feature extraction"),
    ],
)
def test_a_plan_shows_what_learns_when(method, unfreeze, later, text):
    page = planned_diagram(method, unfreeze)
    expected = {name: "later" if name in later else "frozen" for name in BLOCKS}
    assert states(page) == expected | {"head": "learns"} and text in page


def test_it_follows_the_phases_until_the_end():
    events = history()
    assert diagram([], "loading", "block4") == planned_diagram("finetune", "block4")
    assert states(diagram(events[:3], unfreeze=None))["block5"] == "later"  # the usual effort
    fine_tune = states(diagram(events[:6], "fine-tune"))
    assert (fine_tune["block5"], fine_tune["block4"]) == ("learns", "frozen")
    assert "later" not in states(diagram(events[:5], "done")).values()


def test_the_result_shows_what_its_weights_have_moved():
    def page(*, share: float = 1.0, **taken: int) -> str:
        found = history()
        known = {"epochs": 3, "accuracy": 0.9, "seconds": 1.0, "ended": "epoch limit"}
        for phase, at in (("fine-tune", 10), ("warm-up", 5)):
            done = PhaseDone(phase=phase, best_epoch=taken[phase.replace("-", "_")], **known)
            found.insert(at, replace(done, share=share) if phase == "fine-tune" else done)
        return diagram(found, "done")

    last = page(warm_up=3, fine_tune=3)
    assert last.count("moved 0</span>") == 4 and "moved 3.00%" in last and "moved 30%" in last
    assert "moved 2.00%" in page(warm_up=3, fine_tune=2)
    assert "moved 1.50%" in page(warm_up=3, fine_tune=3, share=0.5)
    rejected = page(warm_up=3, fine_tune=0)
    assert states(rejected)["block5"] == "frozen" and "Nothing of fine-tune is used" in rejected
    assert rejected.count("moved 3.00%") == 1 and "moved 30%" in rejected, "warm-up's drift"
    neither = page(warm_up=0, fine_tune=0)
    assert "moved" not in neither and "Nothing of warm-up and fine-tune is used" in neither
