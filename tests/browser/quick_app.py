"""The app whose workers only say that they train, one epoch after the other, until they stop.

With QUICK_RUN, a finished run, each of them ends after an epoch and leaves a copy of it.
"""

import os
import sys
from functools import partial
from pathlib import Path

import app
from transfer.jobs import JobManager

WORKER = Path(__file__).parent / "quick_worker.py"


def command(run: Path | str | None = None) -> tuple[str, ...]:
    """The worker's command; `run` is the one that it leaves behind, a finished one."""
    return (sys.executable, "-S", str(WORKER), *([str(run)] if run else []))


if __name__ == "__main__":
    app.JobManager = partial(JobManager, command=command(os.environ.get("QUICK_RUN")))
    app.main()
