import dataclasses
import io
import sys

import pytest

from tests.test_events import EXAMPLES, kind
from transfer import events
from transfer.formatting import describe, duration, escape_unencodable_output, printable

LINES = {
    events.WeightsChosen: "Weights: bundled (asked for)",
    events.DatasetReady: "Dataset: digits, 2 classes, 8 train, 2 validation, 2 test, 1 skipped",
    events.CacheProgress: "Features: 64 of 128, 32 images/s, 2 s left",
    events.CacheFilled: "Features: 128 images, 1 skipped, 12 MB, prepared in 4 s",
    events.PhaseStarted: "Warm-up: training 131,842 of 14,846,530 parameters (head)",
    events.BatchDone: "Fine-tune epoch 1: batch 2/8, at most 10 min left",
    events.EpochDone: (
        "Fine-tune epoch 1/8: loss 0.2500, validation loss 0.5000, accuracy 0.8750 (best), "
        "at most 21 s left"
    ),
    events.PhaseDone: "Warm-up done in 2 s (all epochs): validation accuracy 0.7500 from epoch 2",
    events.HeadTried: "Head flatten-256 (dropout 0.7, adamw at 0.001): validation loss 0.2500",
    events.HeadChosen: (
        "Tried 2 heads in 8 s; using avg (dropout 0.7, adamw at 0.001): its loss on validation "
        "was lower by more than chance"
    ),
    events.Estimated: (
        "Estimated: preparing images 12 s, warm-up 3 s, fine-tuning 10 min; what enters block5 "
        "is cached (52 MB)"
    ),
    events.BodyProgress: "Downloading the pretrained body: 12 of 59 MB",
    events.RunSaved: (
        "Saved to runs/digits; test accuracy 0.9375 (95 % interval 0.900 to 0.960), head of "
        "133,898 parameters in place of 123,642,856"
    ),
    events.Resumed: "Resuming after warm-up epoch 7",
}
BY_KIND = {type(event): event for event in reversed(EXAMPLES)}  # the first example of each kind


@pytest.mark.parametrize("event", BY_KIND.values(), ids=kind)
def test_each_event_is_described_in_one_line(event):
    assert describe(event) == LINES[type(event)]


@pytest.mark.parametrize(
    ("event", "change", "words"),
    [
        (events.CacheFilled, {"computed": 0, "skipped": []}, "128 images, 12 MB, already cached"),
        (events.CacheProgress, {"done": 0}, "Features: 0 of 128"),
        (events.EpochDone, {"loss": None, "best": False}, "1/8: validation loss 0.5000"),
        (events.PhaseDone, {"share": 0.25}, "from 25% of the way to epoch 2"),
        (events.Resumed, {"phase": ""}, "No checkpoint to resume from"),
        (events.DatasetReady, {"source": "/home/ann/zoo"}, "Dataset: zoo, 2 classes"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_details_depend_on_the_event(event, change, words):
    text = describe(dataclasses.replace(BY_KIND[event], **change))
    assert words in text and "None" not in text and "/home" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h")],
)
def test_durations_have_one_unit(seconds, text):
    assert duration(seconds) == text


def test_control_characters_are_escaped_and_the_rest_stays():
    assert printable("Café 🦆.png") == "Café 🦆.png"
    assert printable("a\x1b[2J\nb\udce9") == r"a\x1b[2J\nb\udce9"


def test_characters_that_a_stream_cannot_encode_are_escaped(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    escape_unencodable_output()
    print("é \udce9", flush=True)
    assert out.buffer.getvalue() == rb"\xe9 \udce9" + b"\n"
