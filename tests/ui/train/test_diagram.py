import re
from pathlib import Path

import pytest

from tests.ui.history import history
from transfer.jobs import Job
from transfer.settings import BLOCKS, TrainingSettings
from transfer.ui.train.diagram import PARTS, STATES, live_diagram, planned_diagram


def states(page: str) -> dict[str, str]:
    """Part → frozen, later or learns, as it is drawn and as it is written."""
    found = {}
    for state, rest in re.findall(r'<li class="part (\w+)">(.*?)</li>', page):
        assert f"{STATES[state]}<" in rest
        found[re.search(r"<b>(\w+)</b>", rest)[1]] = state
    assert list(found) == list(PARTS)
    return found


def diagram(events, state="warm-up", unfreeze="block5") -> str:
    settings = TrainingSettings(unfreeze=unfreeze)
    known = {"id": "1", "owner": "", "source": "digits", "out": Path("runs/x")}
    return live_diagram(Job(**known, settings=settings, history=events, state=state))


@pytest.mark.parametrize(
    ("method", "unfreeze", "later", "text"),
    [
        ("finetune", "block5", BLOCKS[4:], "then block5 too"),
        ("finetune", "block2", BLOCKS[1:], "then block2 and up too"),
        ("finetune", "none", (), "Warm-up only"),
        ("features", "block1", (), "Feature extraction"),
    ],
)
def test_a_plan_shows_what_learns_when(method, unfreeze, later, text):
    page = planned_diagram(method, unfreeze)
    expected = {name: "later" if name in later else "frozen" for name in BLOCKS}
    assert states(page) == expected | {"head": "learns"}
    assert text in page


def test_it_follows_the_phases_until_the_end():
    events = history()
    assert diagram([], "loading", "block4") == planned_diagram("finetune", "block4")
    assert states(diagram(events[:3], unfreeze=None))["block5"] == "later"  # the usual effort
    warm_up, fine_tune = states(diagram(events[:3])), states(diagram(events[:7], "fine-tune"))
    assert (warm_up["block5"], warm_up["head"]) == ("later", "learns")
    assert (fine_tune["block5"], fine_tune["block4"]) == ("learns", "frozen")
    assert "later" not in states(diagram(events[:5], "done")).values()
    page = diagram(events, "done")
    assert page.count("moved 0</span>") == 4
    assert "moved 3.00%" in page and "moved 30%" in page
