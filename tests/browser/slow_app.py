"""The app of a busy server: what was read at the opening of the page is told some seconds later,
and a folder called `slow…` opens once it is let go."""

import time
from pathlib import Path

import app
from transfer import source
from transfer.ui.own import OwnData

SECONDS_TO_TELL = 3
SECONDS_BETWEEN_LOOKS = 0.05
_open, _at_hand = source.open_source, OwnData.at_hand


def let_go(folder: Path) -> Path:
    """The file beside a folder for which its opening waits."""
    return folder.with_suffix(".open")


def open_slowly(name, settings):
    folder = Path(name)
    while folder.name.startswith("slow") and not let_go(folder).exists():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return _open(name, settings)


def at_hand_late(own, visitor):
    read = _at_hand(own, visitor)
    time.sleep(SECONDS_TO_TELL)
    return read


if __name__ == "__main__":
    source.open_source, OwnData.at_hand = open_slowly, at_hand_late
    app.main()
