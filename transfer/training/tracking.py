"""Curves, settings and results for an experiment tracker, through Accelerate's tracker classes."""

from collections.abc import Generator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from transfer.errors import SettingsError
from transfer.events import DatasetReady, EpochDone, Event, PhaseDone, RunSaved
from transfer.formatting import without_folders
from transfer.runs.run import Run, run_path

PROJECT = "transfer-vgg16"
FOLDER = "tracking"  # beside the run, for trackers that write files
RESULTS = ("accuracy", "balanced_accuracy", "seconds")  # of the run, on the test images


def tracked(
    events: Generator[Event, None, Run], name: str, out: str | Path
) -> Generator[Event, None, Run]:
    """The events of a training into `out`, which the tracker of that name logs as they pass.

    The steps are epochs, counted through both phases. Raises SettingsError for a tracker that is
    unknown, not installed or cannot start.
    """
    _check_installed(name)
    tracker, epochs = None, 0
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            match event:
                case DatasetReady():
                    tracker = _start(name, run_path(out), event)
                case EpochDone():
                    tracker.log(_of_epoch(event), step=epochs + event.epoch)
                case PhaseDone():
                    epochs += event.epochs + 1
                case RunSaved():
                    tracker.log({f"test/{n}": event.result[n] for n in RESULTS}, step=epochs)
                    tracker.finish()
            yield event


def _check_installed(name: str) -> None:
    if name not in LOGGER_TYPE_TO_CLASS:
        known = ", ".join(LOGGER_TYPE_TO_CLASS)
        raise SettingsError(f"track must be one of {known}, found {name[:40]!r}")
    if not find_spec(name):
        raise SettingsError(
            f"expected {name} to be installed, found it missing: pip install {name}"
        )


def _start(name: str, out: Path, data: DatasetReady) -> GeneralTracker:
    """With the settings and the size of the data."""
    made = LOGGER_TYPE_TO_CLASS[name]
    folder = {"logging_dir": out.parent / FOLDER} if made.requires_logging_directory else {}
    images = {f"{split} images": number for split, number in data.images.items()}
    settings = {key: str(value) for key, value in data.settings.items()}
    try:
        tracker = made(PROJECT, **folder)
        tracker.start()
        tracker.store_init_configuration(
            {"run": out.name, "classes": len(data.classes)} | images | settings
        )
    except Exception as error:  # of any library: no account, no network, no disk
        reason = without_folders(" ".join(str(error).split()))[:200]
        raise SettingsError(f"{name} cannot start ({reason}); train without --track") from None
    return tracker


def _of_epoch(event: EpochDone) -> dict[str, float]:
    values = {
        "loss": event.loss,  # None before the first epoch
        "validation_loss": event.validation_loss,
        "validation_accuracy": event.validation_accuracy,
    }
    return {f"{event.phase}/{key}": value for key, value in values.items() if value is not None}
