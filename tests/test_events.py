import dataclasses
import json
from typing import get_origin, get_type_hints

import pytest

from transfer import events
from transfer.errors import TransferError

VALUES = {str: "avg", int: 3, float: 0.25, bool: True, dict: {"a": [1, None]}, list: [{"a": "b"}]}


def example(kind: type):
    """An event of this kind; values of other types are None."""
    hints = get_type_hints(kind).items()
    return kind(**{name: VALUES.get(get_origin(hint) or hint) for name, hint in hints})


@pytest.mark.parametrize("kind", events.KINDS)
def test_json_both_ways(kind):
    event = example(events.KINDS[kind])
    line = json.dumps(events.to_json(event))
    assert json.loads(line)["event"] == kind
    assert events.from_json(json.loads(line)) == event


def test_every_event_is_known_and_has_its_place_in_the_docstring():
    found = {value for value in vars(events).values() if dataclasses.is_dataclass(value)}
    assert found == set(events.KINDS.values())
    assert all(name in events.__doc__ for name in events.KINDS)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"event": "Nonsense"},
        {"event": "WeightsChosen", "weights": "hub"},
        {"event": "WeightsChosen", "weights": "hub", "reason": "", "colour": "red"},
    ],
    ids=["nothing", "unknown kind", "missing field", "unknown field"],
)
def test_a_record_that_is_no_event_is_refused(data):
    with pytest.raises(TransferError, match="expected an event"):
        events.from_json(data)


def epoch(phase: str, number: int) -> events.EpochDone:
    return dataclasses.replace(example(events.EpochDone), phase=phase, epoch=number)


WEIGHTS, CACHING = example(events.WeightsChosen), example(events.CacheProgress)
STARTED, DONE = (
    dataclasses.replace(example(kind), phase="warm-up")
    for kind in (events.PhaseStarted, events.PhaseDone)
)
HISTORY = [
    WEIGHTS,
    STARTED,
    epoch("warm-up", 0),
    epoch("warm-up", 1),
    DONE,
    dataclasses.replace(STARTED, phase="fine-tune"),
    epoch("fine-tune", 0),
    epoch("fine-tune", 1),
]
AGAIN = [WEIGHTS, CACHING]  # what a resumed training reports before it resumes its phase


def recorded(*seen) -> list:
    history = []
    for event in seen:
        events.record(history, event)
    return history


@pytest.mark.parametrize(
    ("history", "phase", "number", "left"),
    [
        (HISTORY, "warm-up", 0, HISTORY[:3]),
        (HISTORY, "warm-up", 1, HISTORY[:4]),
        (HISTORY, "fine-tune", 0, HISTORY[:7]),
        (HISTORY, "fine-tune", 1, HISTORY),
        (HISTORY, "", 0, []),
        # an epoch in the checkpoint but not in the history
        (HISTORY[:3], "warm-up", 1, HISTORY[:3]),
        ([], "warm-up", 1, AGAIN),
    ],
    ids=str,
)
def test_resuming_removes_what_came_after_that_epoch(history, phase, number, left):
    resumed = events.Resumed(phase=phase, epoch=number)
    assert recorded(*history, *AGAIN, resumed) == [*left, resumed]


def test_a_training_that_is_resumed_twice_counts_every_epoch_once():
    first, second = (events.Resumed(phase="warm-up", epoch=n) for n in (1, 2))
    later = [epoch("warm-up", n) for n in (2, 3)]
    history = recorded(*HISTORY[:4], *AGAIN, first, *later, *AGAIN, second, later[1])
    assert history == [*HISTORY[:4], first, later[0], second, later[1]]
