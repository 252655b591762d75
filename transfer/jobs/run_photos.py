"""The photos of a run, read again from its dataset where it still exists and may be seen."""

from contextlib import suppress
from functools import lru_cache

import numpy as np
from PIL import Image

from transfer.data.dataset import ImageDataset
from transfer.data.image import Picture, load_image
from transfer.data.source import load_splits, local_path
from transfer.errors import ImageError, JobError
from transfer.jobs import JobManager, ListedRun
from transfer.machine.lazy_import import DIGITS_NEED, lazy_import
from transfer.runs.run import Run, read_run

Example = tuple[str, Picture]  # what it shows, and a file or an array of it
NOBODY = ""  # the owner of runs that the command line or another program made


def source_of(jobs: JobManager, visitor: str, listed: ListedRun, run: Run) -> str | None:
    """Where to read the run's photos again; None where this visitor may not see them.

    Nobody sees another visitor's own photos, not even where everybody sees all runs.
    """
    if run.record["source"] == "digits":
        return "digits"
    with suppress(JobError):
        return jobs.get(listed.job_id, visitor).source
    try:
        made_here = bool(listed.job_id) and bool(jobs.get(listed.job_id, NOBODY))
    except JobError:  # another visitor's
        return None
    if jobs.limits.own_runs_only and not made_here:
        return None
    # a renamed run of the command line has a job that holds only its name
    return run.record["source"].partition(" (")[0]


def photos(run: Run, source: str, split: str, names: list[str]) -> list[tuple[Image.Image, str]]:
    """(picture, its class) of those of the names that are in the split; empty where the source has
    changed since the training. Raises TransferError."""
    images = _opened(str(run.path), source, run.record["revision"])
    if images is None:
        return []
    within = images.splits[split]
    rows, found = {name: row for row, name in enumerate(within.names)}, []
    for row in (rows[name] for name in names if name in rows):
        with suppress(ImageError):
            picture = load_image(within.read(row), greys=run.transform.greys)
            found.append((picture, images.classes[within.labels[row]]))
    return found


def examples(run: Run, source: str, most: int) -> list[Example]:
    """Test photos of the first classes, one of each. Raises TransferError.

    None where the dataset would have to be downloaded, or has changed since the training.
    """
    if source != "digits" and local_path(source) is None:
        return []
    images = _opened(str(run.path), source, run.record["revision"])
    if images is None or "test" not in images.splits:
        return []
    test = images.splits["test"]
    firsts = ((name, np.flatnonzero(test.labels == i)[:1]) for i, name in enumerate(images.classes))
    return [(name, test.read(int(row))) for name, rows in firsts for row in rows][:most]


def is_unchanged(run: Run, source: str) -> bool:
    """Whether the source still is what the run was trained on. Raises TransferError."""
    return _opened(str(run.path), source, run.record["revision"]) is not None


@lru_cache(maxsize=4)
def _opened(path: str, source: str, revision: str) -> ImageDataset | None:
    """Cached, since a source may take long to open."""
    run = read_run(path)
    lazy_import(DIGITS_NEED)
    images = load_splits(source, run.settings)
    same = images.revision == revision or source == "digits"  # equal in all of scikit-learn
    return images if same else None
