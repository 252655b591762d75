"""Curves, settings and results for an experiment tracker, through Accelerate's tracker classes."""

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from transfer.errors import SettingsError
from transfer.events import DatasetReady, EpochDone, Event, PhaseDone, RunSaved
from transfer.formatting import without_folders
from transfer.machine.processes import is_main_process
from transfer.runs.run import Run, run_path

LOG = logging.getLogger(__name__)
PROJECT = "transfer-vgg16"
FOLDER = "tracking"  # beside the run, for trackers that write files
RESULTS = ("accuracy", "balanced_accuracy", "seconds")  # of the run, on the test images


def tracked(
    events: Generator[Event, None, Run], name: str, out: str | Path
) -> Generator[Event, None, Run]:
    """The events of a training into `out`, which the tracker of that name logs as they pass.

    The steps are epochs, counted through both phases. Of several processes the main one logs. A
    tracker that fails later is left alone: the training goes on. Raises SettingsError for one that
    is unknown or cannot start.
    """
    _check_known(name)
    log = None
    with closing(events):
        try:
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    return end.value
                if isinstance(event, DatasetReady) and is_main_process():
                    log = Log(_start(name, run_path(out), event))
                elif log:
                    log.follow(event)
                yield event
        finally:
            if log:
                log.close()


class Log:
    """Passes events on to a tracker until it fails."""

    def __init__(self, tracker: GeneralTracker):
        self.tracker, self.failed = tracker, False
        self.epochs = 0  # of the phases before the current one

    def follow(self, event: Event) -> None:
        match event:
            case EpochDone():
                self._try(self.tracker.log, _of_epoch(event), step=self.epochs + event.epoch)
            case PhaseDone() if event.epochs:
                self.epochs += event.epochs + 1
            case RunSaved():
                results = {f"test/{name}": event.result[name] for name in RESULTS}
                self._try(self.tracker.log, results, step=self.epochs)

    def close(self) -> None:
        self._try(self.tracker.finish)

    def _try(self, call: Callable, *values, **options) -> None:
        try:
            if not self.failed:
                call(*values, **options)
        except Exception as error:  # of any library
            self.failed = True
            LOG.warning("%s failed (%s); the training goes on", self.tracker.name, error)


def _check_known(name: str) -> None:
    if name not in LOGGER_TYPE_TO_CLASS:
        known = ", ".join(LOGGER_TYPE_TO_CLASS)
        raise SettingsError(f"track must be one of {known}, found {name[:40]!r}")


def _start(name: str, out: Path, data: DatasetReady) -> GeneralTracker:
    """With the settings and the size of the data."""
    made = LOGGER_TYPE_TO_CLASS[name]
    folder = {"logging_dir": out.parent / FOLDER} if made.requires_logging_directory else {}
    images = {f"{split} images": number for split, number in data.images.items()}
    settings = {key: str(value) for key, value in data.settings.items()}
    settings["weights"] = Path(settings.get("weights", "")).name  # no folder of this machine
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
