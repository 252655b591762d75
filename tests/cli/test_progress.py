import dataclasses
import io

import pytest

from tests.test_events import EXAMPLES, kind
from transfer import events
from transfer.cli import progress
from transfer.cli.progress import SECONDS_BETWEEN_LINES, Progress
from transfer.formatting import describe, duration

PASSING = events.BatchDone(phase="warm-up", epoch=1, done=1, total=9, seconds_left=5.0)
STAYING = events.CacheFilled(
    images={"train": 3}, skipped=[], computed=3, megabytes=1.0, seconds=2.0
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds since some moment, which only the test moves on."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("event", EXAMPLES, ids=kind)
def test_every_event_is_described_in_one_line(event):
    text = describe(event)
    assert text and "\n" not in text


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (EXAMPLES[0], ("bundled", "asked for")),
        (EXAMPLES[1], ("digits", "2 classes", "8 train", "2 validation", "1 told or skipped")),
        (EXAMPLES[2], ("features", "64/128", "32 a second", "2 s left")),
        (EXAMPLES[3], ("128 images", "1 told or skipped", "12 MB", "4 s")),
        (EXAMPLES[4], ("warm-up", "131,842 of 14,846,530", "head")),
        (EXAMPLES[5], ("fine-tune", "epoch 1", "2/8", "10 min")),
        (EXAMPLES[6], ("epoch 1/8", "loss 0.2500", "loss 0.5000", "0.8750", "best", "21 s")),
        (EXAMPLES[8], ("warm-up", "0.7500", "epoch 2", "all epochs")),
        (EXAMPLES[9], ("flatten-256", "dropout 0.7", "adamw at 0.001", "loss 0.2500")),
        (EXAMPLES[10], ("2 heads tried in 8 s", "avg (dropout 0.7", "more than chance")),
        (EXAMPLES[11], ("cache 12 s", "warm-up 3 s", "fine-tune 10 min", "enters block5 is kept")),
        (EXAMPLES[12], ("the body", "12 of 59 MB")),
        (EXAMPLES[13], ("runs/digits", "0.9375", "0.900 to 0.960", "133,898", "123,642,856")),
        (EXAMPLES[14], ("going on after warm-up epoch 7",)),
        (events.Resumed(), ("begins anew", "features that are kept")),
    ],
    ids=lambda value: kind(value) if not isinstance(value, tuple) else "",
)
def test_a_line_tells_what_matters(event, words):
    assert all(word in describe(event) for word in words), describe(event)


def test_a_cache_that_was_full_already_says_so():
    again = dataclasses.replace(STAYING, computed=0)
    assert "found in the cache" in describe(again) and "found" not in describe(STAYING)


def test_before_the_first_epoch_there_is_no_training_loss():
    assert "validation loss" in describe(EXAMPLES[7])
    assert "None" not in describe(EXAMPLES[7]) and "best" not in describe(EXAMPLES[7])


def test_a_log_gets_plain_lines_and_passing_events_only_now_and_then(clock):
    log = io.StringIO()
    teller = Progress(log)
    for _ in range(3):
        teller.tell(PASSING)
    teller.tell(STAYING)
    teller.tell(STAYING)
    clock[0] += SECONDS_BETWEEN_LINES + 1
    teller.tell(PASSING)
    assert log.getvalue().splitlines() == [
        describe(PASSING),
        describe(STAYING),
        describe(STAYING),
        describe(PASSING),
    ]
    assert "\x1b" not in log.getvalue() and "\r" not in log.getvalue()


def test_a_terminal_gets_one_moving_line_that_the_next_lasting_line_replaces():
    terminal = Terminal()
    teller = Progress(terminal)
    for event in (PASSING, PASSING, STAYING, STAYING):
        teller.tell(event)
    clear = "\r\x1b[K"
    passing, staying = describe(PASSING), describe(STAYING)
    assert terminal.getvalue() == (f"{clear}{passing}{clear}{passing}{clear}{staying}\n{staying}\n")


def test_progress_goes_to_stderr_unless_told(capsys):
    Progress().say("hello")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h")],
)
def test_durations_are_said_as_people_do(seconds, text):
    assert duration(seconds) == text
