import dataclasses
import json

import pytest

from transfer import events
from transfer.errors import TransferError

TRIED = {
    "head": "flatten-256",
    "dropout": 0.7,
    "learning_rate": 1e-3,
    "optimizer": "adamw",
    "parameters": 133_898,
    "validation_loss": 0.25,
    "validation_accuracy": 0.9375,
    "seconds": 0.5,
}
EXAMPLES = [
    events.WeightsChosen(weights="bundled", reason="asked for"),
    events.DatasetReady(
        source="digits",
        classes=["0", "1"],
        images={"train": 8, "validation": 2, "test": 2},
        skipped=[{"where": "a/b.jpg", "why": "the file is empty"}],
        settings={"seed": 0, "head": {"hidden": [256]}},
    ),
    events.CacheProgress(stage="features", done=64, total=128, seconds=2.0),
    events.CacheFilled(
        images={"train": 100, "validation": 12, "test": 16},
        skipped=[{"where": "a/b.jpg", "why": "the file is empty"}],
        computed=228,
        megabytes=12.5,
        seconds=4.0,
    ),
    events.PhaseStarted(
        phase="warm-up", epochs=3, trainable=131_842, parameters=14_846_530, learns=["head"]
    ),
    events.BatchDone(phase="fine-tune", epoch=1, done=2, total=8, seconds_left=600.0),
    events.EpochDone(
        phase="fine-tune",
        epoch=1,
        epochs=8,
        loss=0.25,
        validation_loss=0.5,
        validation_accuracy=0.875,
        best=True,
        seconds=3.0,
        seconds_left=21.0,
        drift={"block5": 0.01},
    ),
    events.EpochDone(
        phase="fine-tune",
        epoch=0,
        epochs=8,
        loss=None,
        validation_loss=0.5,
        validation_accuracy=0.75,
        best=False,
        seconds=3.0,
        seconds_left=24.0,
        drift={},
    ),
    events.PhaseDone(
        phase="warm-up", epochs=3, best_epoch=2, accuracy=0.75, seconds=1.5, ended="all epochs"
    ),
    events.HeadTried(**TRIED),
    events.HeadChosen(
        head="avg-256",
        tried=[TRIED | {"chosen": False}, TRIED | {"head": "avg", "chosen": True}],
        seconds=8.0,
        why="its loss on validation was lower by more than chance",
    ),
    events.Estimated(
        seconds={"cache": 12.0, "warm-up": 3.0, "fine-tune": 600.0},
        cached="what enters block5 is cached (52 MB)",
    ),
    events.BodyProgress(done_bytes=12_345_678, total_bytes=58_900_000),
    events.RunSaved(
        run="runs/digits",
        result={
            "accuracy": 0.9375,
            "accuracy_interval": [0.9, 0.96],
            "head_parameters": 133_898,
            "original_head_parameters": 123_642_856,
        },
    ),
    events.Resumed(phase="warm-up", epoch=7),
]


def kind(event) -> str:
    return type(event).__name__


def test_there_is_an_example_of_every_event():
    found = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value)
    }
    assert {type(event) for event in EXAMPLES} == found == set(events.KINDS.values())


@pytest.mark.parametrize("event", EXAMPLES, ids=kind)
def test_json_both_ways(event):
    line = json.dumps(events.to_json(event))
    assert json.loads(line)["event"] == kind(event)
    assert events.from_json(json.loads(line)) == event


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


def test_the_docstring_tells_the_order_of_all_events():
    names = [name for name in events.KINDS if name in events.__doc__.replace("CacheProgress…", "")]
    assert set(names) | {"CacheProgress"} == set(events.KINDS)
    assert all(event.__doc__ for event in events.KINDS.values())


def epoch(phase: str, number: int, best: bool = False) -> events.EpochDone:
    return dataclasses.replace(EXAMPLES[6], phase=phase, epoch=number, best=best)


def phase_started(phase: str) -> events.PhaseStarted:
    return dataclasses.replace(EXAMPLES[4], phase=phase)


TOLD = [
    EXAMPLES[0],
    phase_started("warm-up"),
    epoch("warm-up", 0),
    epoch("warm-up", 1),
    EXAMPLES[8],
    phase_started("fine-tune"),
    epoch("fine-tune", 0),
    epoch("fine-tune", 1),
]
AGAIN = [EXAMPLES[0], EXAMPLES[3]]  # what a training says before it comes to the phases


@pytest.mark.parametrize(
    ("resumed", "left"),
    [
        (events.Resumed(phase="warm-up", epoch=0), 3),
        (events.Resumed(phase="warm-up", epoch=1), 4),
        (events.Resumed(phase="fine-tune", epoch=0), 7),
        (events.Resumed(phase="fine-tune", epoch=1), 8),
        (events.Resumed(), 0),
    ],
    ids=str,
)
def test_what_was_told_after_the_place_where_it_goes_on_is_taken_back(resumed, left):
    history = []
    for event in TOLD + AGAIN + [resumed]:
        events.record(history, event)
    assert history == [*TOLD[:left], resumed]


def test_an_epoch_that_was_kept_but_never_heard_of_takes_nothing_along():
    history = TOLD[:3]
    for event in [*AGAIN, resumed := events.Resumed(phase="warm-up", epoch=1)]:
        events.record(history, event)
    assert history == [*TOLD[:3], resumed]
    history = TOLD[:2]
    for event in [*AGAIN, resumed := events.Resumed(phase="warm-up", epoch=0)]:
        events.record(history, event)
    assert history == [*TOLD[:2], resumed]


def test_who_hears_of_a_training_only_when_it_goes_on_keeps_all_that_was_told():
    history = []
    for event in [*AGAIN, resumed := events.Resumed(phase="warm-up", epoch=1)]:
        events.record(history, event)
    assert history == [*AGAIN, resumed]


def test_a_training_that_is_cut_off_twice_counts_every_epoch_once():
    history = []
    first, second = (events.Resumed(phase="warm-up", epoch=n) for n in (1, 2))
    later = [epoch("warm-up", n) for n in (2, 3)]
    for event in [*TOLD[:4], *AGAIN, first, *later, *AGAIN, second, later[1]]:
        events.record(history, event)
    assert history == [*TOLD[:4], first, later[0], second, later[1]]
