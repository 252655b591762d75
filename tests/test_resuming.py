"""A training that was cut off, in whatever way, goes on as if it had not been."""

import json
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import transfer
from tests.tiny import TINY, drained, draw_classes
from transfer import checkpoint, events
from transfer.errors import RunError
from transfer.recipe import training_events
from transfer.run_folder import CHECKPOINT, is_unfinished

SETTINGS = TINY | {"head_epochs": 4, "finetune_epochs": 3, "precision": "fp32"}


@pytest.fixture(autouse=True)
def every_epoch_is_written(monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE_OF_TIME", float("inf"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_classes(tmp_path_factory.mktemp("resuming") / "photos", each=10)


@pytest.fixture(scope="module")
def uncut(source, tmp_path_factory):
    """(events, run) of the training in one piece."""
    out = tmp_path_factory.mktemp("uncut") / "run"
    return drained(training_events(str(source), out=out, **SETTINGS))


def cut_after(source, out, phase, epoch, **options) -> list:
    """What is told until that epoch is done, and no more."""
    told = []
    with closing(training_events(str(source), out=out, resume=True, **SETTINGS | options)) as whole:
        for event in whole:
            told.append(event)
            if isinstance(event, events.EpochDone) and (event.phase, event.epoch) == (phase, epoch):
                return told
    raise AssertionError("it ended before")


def numbers(told) -> list:
    """All that an epoch says but for how long it took."""
    epochs = [event for event in told if isinstance(event, events.EpochDone)]
    return [replace(epoch, seconds=0.0, seconds_left=0.0) for epoch in epochs]


def phases(told) -> list:
    done = [event for event in told if isinstance(event, events.PhaseDone)]
    return [replace(event, seconds=0.0) for event in done]


def judged(run) -> dict:
    """What the report says but for how long heads and epochs took."""
    heads = [row | {"seconds": 0.0} for row in run.report["heads"]]
    return run.report | {"curves": None, "heads": heads}


@pytest.mark.parametrize(
    "cuts",
    [
        [("warm-up", 0)],
        [("warm-up", 2)],
        [("fine-tune", 0)],
        [("fine-tune", 1), ("fine-tune", 2)],
        [("warm-up", 4), ("fine-tune", 3)],
    ],
)
def test_a_training_in_pieces_is_the_one_in_one_piece_to_the_bit(source, uncut, tmp_path, cuts):
    out, history = tmp_path / "run", []
    for phase, epoch in cuts:
        for event in cut_after(source, out, phase, epoch):
            events.tell(history, event)
        assert is_unfinished(out)
    told, run = drained(training_events(str(source), out=out, resume=True, **SETTINGS))
    for event in told:
        events.tell(history, event)
    whole, whole_run = uncut
    assert numbers(history) == numbers(whole)
    assert phases(history) == phases(whole)
    ours, theirs = (load_file(r.path / "model.safetensors") for r in (run, whole_run))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert judged(run) == judged(whole_run)
    assert not (out / CHECKPOINT).exists()
