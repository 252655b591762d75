import dataclasses
import json

import pytest

from transfer import events
from transfer.errors import TransferError

SKIPPED = [{"where": "a/b.jpg", "why": "the file is empty"}]
HEAD = {"head": "flatten-256", "dropout": 0.7, "learning_rate": 1e-3, "optimizer": "adamw"}
JUDGED = {"validation_loss": 0.25, "validation_accuracy": 0.9375, "seconds": 0.5}
TRIED = HEAD | {"parameters": 133_898} | JUDGED
WEIGHTS = events.WeightsChosen(weights="bundled", reason="asked for")
CACHING = events.CacheProgress(stage="features", done=64, total=128, seconds=2.0)
STARTED = events.PhaseStarted(
    phase="warm-up", epochs=3, trainable=131_842, parameters=14_846_530, learns=["head"]
)
LOSSES = {"loss": 0.25, "validation_loss": 0.5, "validation_accuracy": 0.875}
TIMES = {"seconds": 3.0, "seconds_left": 21.0}
EPOCH = events.EpochDone(
    phase="fine-tune", epoch=1, epochs=8, best=True, drift={"block5": 0.01}, **LOSSES, **TIMES
)
DONE = events.PhaseDone(
    phase="warm-up", epochs=3, best_epoch=2, accuracy=0.75, seconds=1.5, ended="all epochs"
)
SPLITS = {"train": 8, "validation": 2, "test": 2}
SETTINGS = {"seed": 0, "head": {"hidden": [256]}}
PARAMETERS = {"head_parameters": 133_898, "original_head_parameters": 123_642_856}
EXAMPLES = [
    events.BodyProgress(done_bytes=12_345_678, total_bytes=58_900_000),
    WEIGHTS,
    events.DatasetReady(
        source="digits",
        classes=["0", "1"],
        images=SPLITS,
        skipped=SKIPPED,
        settings=SETTINGS,
        greys=["16-bit greys: 0…4095 is scaled to 0…255"],
    ),
    events.Estimated(
        seconds={"cache": 12.0, "warm-up": 3.0, "fine-tune": 600.0},
        cached="what enters block5 is cached (52 MB)",
    ),
    CACHING,
    events.CacheFilled(
        images={"train": 100, "validation": 12, "test": 16},
        skipped=SKIPPED,
        computed=228,
        megabytes=12.5,
        seconds=4.0,
    ),
    events.HeadTried(**TRIED),
    events.HeadChosen(
        head="avg",
        tried=[TRIED | {"chosen": False}, TRIED | {"head": "avg", "chosen": True}],
        seconds=8.0,
        why="its loss on validation was lower by more than chance",
    ),
    events.Resumed(phase="warm-up", epoch=7),
    events.BlocksProbed(images=99, accuracy={"block4": 0.8, "block5": 0.8}, no_gain=["block5"]),
    events.CrossValidated(folds=5, accuracy=0.9375, interval=[0.89, 0.97], images=112),
    STARTED,
    events.BatchDone(phase="fine-tune", epoch=1, done=2, total=8, seconds_left=600.0),
    EPOCH,
    DONE,
    events.RunSaved(
        run="runs/digits",
        result={"accuracy": 0.9375, "accuracy_interval": [0.9, 0.96], "images": {"test": 240}}
        | PARAMETERS,
    ),
]


def kind(event) -> str:
    return type(event).__name__


@pytest.mark.parametrize("event", EXAMPLES, ids=kind)
def test_json_both_ways(event):
    line = json.dumps(events.to_json(event))
    assert json.loads(line)["event"] == kind(event)
    assert events.from_json(json.loads(line)) == event


def test_every_event_has_an_example_and_its_place_in_the_docstring():
    found = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value)
    }
    assert {type(event) for event in EXAMPLES} == found == set(events.KINDS.values())
    assert all(name in events.__doc__ for name in events.KINDS)


@pytest.mark.parametrize("fields", [{}, {"weights": "hub", "reason": "", "colour": "red"}])
def test_a_record_that_is_no_event_is_refused(fields):
    with pytest.raises(TransferError, match="expected an event"):
        events.from_json({"event": "WeightsChosen"} | fields)


def epoch(phase: str, number: int) -> events.EpochDone:
    return dataclasses.replace(EPOCH, phase=phase, epoch=number)


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
        (HISTORY, "warm-up", 1, HISTORY[:4]),
        (HISTORY, "fine-tune", 0, HISTORY[:7]),
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
