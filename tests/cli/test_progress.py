import io

import pytest

from transfer import events
from transfer.cli import progress
from transfer.cli.progress import SECONDS_BETWEEN_LINES, Progress, run_for, suggest
from transfer.formatting import describe

BATCH = events.BatchDone(phase="warm-up", epoch=1, done=1, total=9, seconds_left=5.0)
FILLED = events.CacheFilled(images={"train": 3}, skipped=[], computed=3, megabytes=1.0, seconds=2.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds since some moment, which only the test moves on."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_shows_transient_events_only_now_and_then(clock):
    log = io.StringIO()
    lines = Progress(log)
    for event in (BATCH, BATCH, FILLED, FILLED):
        lines.report(event)
    clock[0] += SECONDS_BETWEEN_LINES + 1
    lines.report(BATCH)
    assert log.getvalue().splitlines() == [describe(e) for e in (BATCH, FILLED, FILLED, BATCH)]


def test_a_terminal_shows_one_moving_line_which_the_next_lasting_line_replaces():
    terminal = Terminal()
    lines = Progress(terminal)
    for event in (BATCH, BATCH, FILLED, FILLED):
        lines.report(event)
    clear, batch, filled = "\r\x1b[K", describe(BATCH), describe(FILLED)
    assert terminal.getvalue() == f"{clear}{batch}{clear}{batch}{clear}{filled}\n{filled}\n"


def test_progress_goes_to_stderr_by_default(capsys):
    Progress().say("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_the_next_command_can_be_copied(capsys):
    suggest("train", "my photos/a b.zip", out=run_for("my photos/a b.zip"), config=None, seed=3)
    line = capsys.readouterr().err
    assert line == "next: python -m transfer train 'my photos/a b.zip' --out runs/a-b --seed 3\n"
    assert run_for("user/name") == "runs/name" and run_for("..") == "runs/first"
