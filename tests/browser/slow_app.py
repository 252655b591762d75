"""The app of a busy server: what was read at the opening of the page, or when a training was
stopped, is answered some seconds later, and a folder called `slow…` opens once it is let go.

Its trainings are the quick ones of `quick_app`.
"""

import time
from functools import partial
from pathlib import Path

import app
from tests.browser.quick_app import command
from transfer.data import source
from transfer.jobs import JobManager
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.train.handlers import TrainHandlers

SECONDS_TO_TELL = 3
SECONDS_BETWEEN_LOOKS = 0.05
_open, _opened, _stop = source.load_splits, UploadHandlers.opened, TrainHandlers.stop


def let_go(folder: Path) -> Path:
    """The file beside a folder for which its opening waits."""
    return folder.with_suffix(".open")


def open_slowly(name, settings):
    folder = Path(name)
    while folder.name.startswith("slow") and not let_go(folder).exists():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return _open(name, settings)


def opened_late(own, visitor):
    read = _opened(own, visitor)
    time.sleep(SECONDS_TO_TELL)
    return read


def stop_late(trainings, visitor):
    answer = _stop(trainings, visitor)
    time.sleep(SECONDS_TO_TELL)
    return answer


if __name__ == "__main__":
    source.load_splits, UploadHandlers.opened, TrainHandlers.stop = (
        open_slowly,
        opened_late,
        stop_late,
    )
    app.JobManager = partial(JobManager, command=command())
    app.main()
